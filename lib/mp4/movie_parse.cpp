#include <algorithm>

#include "base/units.hpp"
#include "mp4/box.hpp"
#include "mp4/movie.hpp"
#include "mp4/sample_entry.hpp"

namespace mc::mp4 {
namespace {

// Times beyond this are nobody's recording; below it no sum or conversion of ours overflows.
constexpr std::uint64_t kMaxTicks = 1ULL << 62;

auto cut_off(const char* box) {
  return fail(ErrorKind::damaged, std::string("box '") + box + "' is shorter than its fields");
}

struct Trex {
  std::uint32_t track_id = 0, description = 0, duration = 0, size = 0, flags = 0;
};

// A trak as it is read: what needs the movie's timescale or another box is settled at its end.
struct Draft {
  Track track;
  std::uint64_t empty_edit_of_movie = 0;
  std::uint16_t shown_width = 0, shown_height = 0;
  bool has_tkhd = false, has_mdhd = false;
};

Status parse_tkhd(ByteView payload, Draft& draft) {  // 14496-12 8.3.2
  FieldReader in(payload);
  const std::uint8_t version = in.u8();
  in.skip(3U + (version == 1 ? 16 : 8));
  draft.track.id = in.u32();
  in.skip(4U + (version == 1 ? 8 : 4) + 8 + 8 + 36);
  draft.shown_width = static_cast<std::uint16_t>(in.u32() >> 16);
  draft.shown_height = static_cast<std::uint16_t>(in.u32() >> 16);
  if (!in.ok()) return cut_off("tkhd");
  if (draft.track.id == 0) return fail(ErrorKind::damaged, "a track has the number 0");
  draft.has_tkhd = true;
  return {};
}

// 8.6.6: leading empty edits, and where the first real one begins. What may follow is editing, which a recording has
// not.
Status parse_elst(ByteView payload, Draft& draft) {
  FieldReader in(payload);
  const std::uint8_t version = in.u8();
  in.skip(3);
  const std::uint32_t count = in.u32();
  const std::size_t number = version == 1 ? 8 : 4;
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    const std::uint64_t duration = in.be(number);
    const std::uint64_t media_time = in.be(number);
    in.skip(4);
    if (!in.ok()) break;
    if (media_time == (version == 1 ? UINT64_MAX : UINT32_MAX)) {
      if (duration >= kMaxTicks || draft.empty_edit_of_movie >= kMaxTicks) {
        return fail(ErrorKind::damaged, "an edit list has an impossible duration");
      }
      draft.empty_edit_of_movie += duration;
      continue;
    }
    if (media_time >= (version == 1 ? kMaxTicks : 1ULL << 31)) {
      return fail(ErrorKind::damaged, "an edit list has an impossible media time");
    }
    draft.track.media_time = static_cast<std::int64_t>(media_time);
    break;
  }
  return in.ok() ? Status{} : cut_off("elst");
}

Status parse_mdhd(ByteView payload, Draft& draft) {  // 8.4.2
  FieldReader in(payload);
  const std::uint8_t version = in.u8();
  in.skip(3U + (version == 1 ? 16 : 8));
  draft.track.timescale = in.u32();
  in.skip(version == 1 ? 8 : 4);
  const std::uint16_t packed = in.u16();
  if (!in.ok()) return cut_off("mdhd");
  if (draft.track.timescale == 0) return fail(ErrorKind::damaged, "a track has the timescale 0");
  std::string language;
  for (int shift = 10; shift >= 0; shift -= 5) language += static_cast<char>(0x60 + (packed >> shift & 31));
  const bool letters = std::all_of(language.begin(), language.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  draft.track.language = letters ? language : "und";
  draft.has_mdhd = true;
  return {};
}

Status parse_hdlr(ByteView payload, Draft& draft) {  // 8.4.3
  FieldReader in(payload);
  in.skip(8);
  const FourCc handler = in.u32();
  if (!in.ok()) return cut_off("hdlr");
  if (handler == fourcc("vide")) draft.track.kind = TrackKind::video;
  if (handler == fourcc("soun")) draft.track.kind = TrackKind::audio;
  return {};
}

Status parse_stsd(ByteView payload, Draft& draft) {  // 8.5.2
  FieldReader in(payload);
  in.skip(4);
  const std::uint32_t count = in.u32();
  if (!in.ok()) return cut_off("stsd");
  MC_TRY(for_each_box(in.rest(), [&](const Box& entry) -> Status {
    draft.track.descriptions.emplace_back(entry.whole.begin(), entry.whole.end());
    return {};
  }));
  if (draft.track.descriptions.size() != count) {
    return fail(ErrorKind::damaged, "box 'stsd' does not hold as many entries as it says");
  }
  return {};
}

Status parse_sgpd(ByteView payload, Draft& draft) {  // 8.9.3; only 'roll' (10.1)
  FieldReader in(payload);
  const std::uint8_t version = in.u8();
  in.skip(3);
  if (in.u32() != fourcc("roll")) return {};
  std::uint32_t entry_bytes = 2;
  if (version == 1) entry_bytes = in.u32();
  // The editions disagree whether version 2 has the default length besides the default index.
  if (version >= 2) in.skip(in.left() == 10 ? 4 : 8);
  const std::uint32_t count = in.u32();
  if (count == 0) return {};
  if (version == 1 && entry_bytes == 0) in.skip(4);
  draft.track.roll_distance = static_cast<std::int16_t>(in.u16());
  return in.ok() ? Status{} : cut_off("sgpd");
}

Status parse_inside(const Box& box, Draft& draft) {
  switch (box.type) {
    case fourcc("tkhd"): return parse_tkhd(box.payload, draft);
    case fourcc("elst"): return parse_elst(box.payload, draft);
    case fourcc("mdhd"): return parse_mdhd(box.payload, draft);
    case fourcc("stsd"): return parse_stsd(box.payload, draft);
    case fourcc("sgpd"): return parse_sgpd(box.payload, draft);
    case fourcc("edts"):
    case fourcc("minf"):
    case fourcc("stbl"):
      return for_each_box(box.payload, [&](const Box& inner) -> Status {
        // QuickTime has a second hdlr in minf, about the data and not the media.
        return inner.type == box.type ? Status{} : parse_inside(inner, draft);
      });
    case fourcc("mdia"):
      return for_each_box(box.payload, [&](const Box& inner) -> Status {
        if (inner.type == fourcc("hdlr")) return parse_hdlr(inner.payload, draft);
        return inner.type == box.type ? Status{} : parse_inside(inner, draft);
      });
    default: return {};
  }
}

Result<Draft> parse_trak(ByteView payload) {
  Draft draft;
  MC_TRY(for_each_box(payload, [&](const Box& box) { return parse_inside(box, draft); }));
  Track& track = draft.track;
  if (!draft.has_tkhd) return fail(ErrorKind::damaged, "a track has no 'tkhd'");
  if (!draft.has_mdhd) return fail(ErrorKind::damaged, "a track has no 'mdhd'");
  if (track.descriptions.empty()) return fail(ErrorKind::damaged, "a track has no sample description");
  const EntryFormat format = entry_format(track.descriptions.front(), track.kind);
  if (track.kind == TrackKind::video) {
    const bool told = format.width != 0 && format.height != 0;
    track.width = told ? format.width : draft.shown_width;
    track.height = told ? format.height : draft.shown_height;
  } else if (track.kind == TrackKind::audio) {
    track.sample_rate = format.sample_rate;
    track.channels = format.channels;
  }
  return draft;
}

struct MovieDraft {
  std::uint32_t timescale = 0;
  std::vector<Draft> drafts;
  std::vector<Trex> defaults;
};

Status parse_moov_child(const Box& box, MovieDraft& movie) {
  if (box.type == fourcc("mvhd")) {  // 8.2.2
    FieldReader in(box.payload);
    const std::uint8_t version = in.u8();
    in.skip(3U + (version == 1 ? 16 : 8));
    movie.timescale = in.u32();
    if (!in.ok()) return cut_off("mvhd");
    if (movie.timescale == 0) return fail(ErrorKind::damaged, "the movie has the timescale 0");
  } else if (box.type == fourcc("trak")) {
    MC_TRY_ASSIGN(Draft draft, parse_trak(box.payload));
    for (const Draft& other : movie.drafts) {
      if (other.track.id == draft.track.id) {
        return fail(ErrorKind::damaged, "two tracks have the number " + std::to_string(draft.track.id));
      }
    }
    movie.drafts.push_back(std::move(draft));
  } else if (box.type == fourcc("mvex")) {
    return for_each_box(box.payload, [&](const Box& inner) -> Status {
      if (inner.type != fourcc("trex")) return {};
      FieldReader in(inner.payload);
      in.skip(4);
      Trex trex;
      trex.track_id = in.u32();
      trex.description = in.u32();
      trex.duration = in.u32();
      trex.size = in.u32();
      trex.flags = in.u32();
      if (!in.ok()) return cut_off("trex");
      movie.defaults.push_back(trex);
      return {};
    });
  }
  return {};
}

Result<Movie> parse_moov(ByteView payload) {
  MovieDraft read;
  MC_TRY(for_each_box(payload, [&](const Box& box) { return parse_moov_child(box, read); }));
  if (read.timescale == 0) return fail(ErrorKind::damaged, "box 'moov' has no 'mvhd'");
  Movie movie;
  for (Draft& draft : read.drafts) {
    Track& track = draft.track;
    if (draft.empty_edit_of_movie / read.timescale >= kMaxTicks / track.timescale) {
      return fail(ErrorKind::damaged, "an edit list has an impossible duration");
    }
    track.empty_edit = rescale(static_cast<std::int64_t>(draft.empty_edit_of_movie), read.timescale, track.timescale);
    for (const Trex& trex : read.defaults) {
      if (trex.track_id != track.id) continue;
      track.nominal_duration = trex.duration;
      track.default_description = trex.description;
      track.default_size_bytes = trex.size;
      track.default_flags = trex.flags;
    }
    movie.tracks.push_back(std::move(track));
  }
  if (movie.tracks.empty()) return fail(ErrorKind::damaged, "the movie has no tracks");
  return movie;
}

Result<ByteView> find_moov(ByteView bytes) {
  while (!bytes.empty()) {
    MC_TRY_ASSIGN(const BoxHeader header, read_box_header(bytes));
    if (!header.complete) break;
    const std::uint64_t size = header.size_bytes == 0 ? bytes.size() : header.size_bytes;
    if (size > bytes.size()) break;
    if (header.type == fourcc("moov")) {
      return bytes.subspan(header.header_bytes, static_cast<std::size_t>(size) - header.header_bytes);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(size));
  }
  return fail(ErrorKind::damaged, "there is no whole box 'moov'");
}

// The number of samples in the sample tables inside `payload` (8.7.3): trak, mdia, minf, stbl, stsz or stz2.
std::uint64_t count_samples(ByteView payload, int depth = 0) {
  std::uint64_t count = 0;
  const auto walked = for_each_box(payload, [&](const Box& box) -> Status {
    constexpr FourCc kPath[] = {fourcc("trak"), fourcc("mdia"), fourcc("minf"), fourcc("stbl")};
    if (depth < 4) {
      if (box.type == kPath[depth]) count += count_samples(box.payload, depth + 1);
    } else if ((box.type == fourcc("stsz") || box.type == fourcc("stz2")) && box.payload.size() >= 12) {
      count += load_be(box.payload.data() + 8, 4);
    }
    return {};
  });
  static_cast<void>(walked);
  return count;
}

}  // namespace

Result<Movie> parse_init(ByteView bytes) {
  MC_TRY_ASSIGN(const ByteView moov, find_moov(bytes));
  return parse_moov(moov);
}

bool has_own_samples(ByteView bytes) {
  const auto moov = find_moov(bytes);
  return moov && count_samples(*moov) != 0;
}

}  // namespace mc::mp4
