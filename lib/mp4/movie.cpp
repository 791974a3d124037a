#include "mp4/movie.hpp"

#include <algorithm>

#include "base/units.hpp"
#include "mp4/box.hpp"
#include "mp4/sample_entry.hpp"

namespace mc::mp4 {
namespace {

constexpr std::uint32_t kDefaultMovieTimescale = 1000;

void zeros(ByteBuffer& out, std::size_t n) { out.resize(out.size() + n); }

void write_matrix(ByteBuffer& out) {
  for (const std::uint32_t value : {0x10000U, 0U, 0U, 0U, 0x10000U, 0U, 0U, 0U, 0x40000000U}) append_be(out, value, 4);
}

std::uint32_t movie_timescale(const Movie& movie) {
  std::uint32_t finest = 0;
  for (const Track& track : movie.tracks) {
    if (track.empty_edit > 0) finest = std::max(finest, track.timescale);
  }
  return finest == 0 ? kDefaultMovieTimescale : finest;
}

void write_mvhd(const Movie& movie, ByteBuffer& out) {  // 14496-12 8.2.2
  BoxWriter box(out, fourcc("mvhd"), 1, 0);
  append_be(out, 0, 8);  // creation
  append_be(out, 0, 8);  // modification
  append_be(out, movie_timescale(movie), 4);
  append_be(out, 0, 8);           // duration
  append_be(out, 0x00010000, 4);  // rate
  append_be(out, 0x0100, 2);      // volume
  zeros(out, 10);
  write_matrix(out);
  zeros(out, 24);
  std::uint32_t next_id = 1;
  for (const Track& track : movie.tracks) {
    next_id = std::max(next_id, track.id == UINT32_MAX ? track.id : track.id + 1);
  }
  append_be(out, next_id, 4);
}

// A tkhd tells the size for showing, 16.16: the pixels as coded, stretched by their aspect ratio.
std::uint32_t shown_width(const Track& track) {
  std::uint64_t width = static_cast<std::uint64_t>(track.width) << 16;
  if (track.kind == TrackKind::video && !track.descriptions.empty()) {
    const EntryFormat format = entry_format(track.descriptions.front(), track.kind);
    width = width * format.pixel_width / format.pixel_height;
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(width, UINT32_MAX));
}

void write_tkhd(const Track& track, ByteBuffer& out) {  // 8.3.2
  BoxWriter box(out, fourcc("tkhd"), 1, 3);             // enabled, in movie
  append_be(out, 0, 8);
  append_be(out, 0, 8);
  append_be(out, track.id, 4);
  zeros(out, 4);
  append_be(out, 0, 8);  // duration
  zeros(out, 8);
  append_be(out, 0, 2);  // layer
  append_be(out, 0, 2);  // alternate group
  append_be(out, track.kind == TrackKind::audio ? 0x0100 : 0, 2);
  zeros(out, 2);
  write_matrix(out);
  append_be(out, shown_width(track), 4);
  append_be(out, static_cast<std::uint32_t>(track.height) << 16, 4);
}

void write_edts(const Track& track, std::uint32_t timescale_of_movie, ByteBuffer& out) {  // 8.6.6
  if (track.media_time <= 0 && track.empty_edit <= 0) return;
  const BoxWriter edts(out, fourcc("edts"));
  const BoxWriter elst(out, fourcc("elst"), 1, 0);
  append_be(out, track.empty_edit > 0 ? 2 : 1, 4);
  if (track.empty_edit > 0) {
    append_be(out, static_cast<std::uint64_t>(rescale(track.empty_edit, track.timescale, timescale_of_movie)), 8);
    append_be(out, UINT64_MAX, 8);  // media_time -1: nothing is shown
    append_be(out, 0x00010000, 4);
  }
  append_be(out, 0, 8);  // fragmented: to the end, whatever it will be
  append_be(out, static_cast<std::uint64_t>(std::max<std::int64_t>(track.media_time, 0)), 8);
  append_be(out, 0x00010000, 4);
}

void write_mdhd(const Track& track, ByteBuffer& out) {  // 8.4.2
  BoxWriter box(out, fourcc("mdhd"), 1, 0);
  append_be(out, 0, 8);
  append_be(out, 0, 8);
  append_be(out, track.timescale, 4);
  append_be(out, 0, 8);
  const bool valid = track.language.size() == 3 && std::all_of(track.language.begin(), track.language.end(),
                                                               [](char c) { return c >= 'a' && c <= 'z'; });
  std::uint32_t packed = 0;
  for (const char c : valid ? track.language : std::string("und"))
    packed = packed << 5 | static_cast<std::uint32_t>(c - 0x60);
  append_be(out, packed, 2);
  append_be(out, 0, 2);
}

void write_hdlr(const Track& track, ByteBuffer& out) {  // 8.4.3
  const BoxWriter box(out, fourcc("hdlr"), 0, 0);
  append_be(out, 0, 4);
  const char* title = "data";
  FourCc handler = fourcc("meta");
  if (track.kind == TrackKind::video) {
    handler = fourcc("vide");
    title = "picture";
  } else if (track.kind == TrackKind::audio) {
    handler = fourcc("soun");
    title = "sound";
  }
  append_be(out, handler, 4);
  zeros(out, 12);
  append(out, as_bytes(title));
  append_be(out, 0, 1);
}

void write_media_header(const Track& track, ByteBuffer& out) {  // 12.1.2, 12.2.2, 8.4.5.2
  if (track.kind == TrackKind::video) {
    const BoxWriter box(out, fourcc("vmhd"), 0, 1);
    zeros(out, 8);
  } else if (track.kind == TrackKind::audio) {
    const BoxWriter box(out, fourcc("smhd"), 0, 0);
    zeros(out, 4);
  } else {
    const BoxWriter box(out, fourcc("nmhd"), 0, 0);
  }
}

void write_dinf(ByteBuffer& out) {  // 8.7.1, 8.7.2
  const BoxWriter dinf(out, fourcc("dinf"));
  const BoxWriter dref(out, fourcc("dref"), 0, 0);
  append_be(out, 1, 4);
  const BoxWriter url(out, fourcc("url "), 0, 1);  // self-contained
}

void write_stbl(const Track& track, ByteBuffer& out) {  // 8.5, 8.6, 8.7: no samples here
  const BoxWriter stbl(out, fourcc("stbl"));
  {
    const BoxWriter stsd(out, fourcc("stsd"), 0, 0);
    append_be(out, track.descriptions.size(), 4);
    for (const ByteBuffer& entry : track.descriptions) append(out, entry);
  }
  for (const FourCc type : {fourcc("stts"), fourcc("stsc")}) {
    const BoxWriter box(out, type, 0, 0);
    zeros(out, 4);
  }
  {
    const BoxWriter stsz(out, fourcc("stsz"), 0, 0);
    zeros(out, 8);
  }
  {
    const BoxWriter stco(out, fourcc("stco"), 0, 0);
    zeros(out, 4);
  }
  if (track.roll_distance != 0) {  // 8.9.3, 10.1
    const BoxWriter sgpd(out, fourcc("sgpd"), 1, 0);
    append_be(out, fourcc("roll"), 4);
    append_be(out, 2, 4);
    append_be(out, 1, 4);
    append_be(out, static_cast<std::uint16_t>(track.roll_distance), 2);
  }
}

void write_trak(const Track& track, std::uint32_t timescale_of_movie, ByteBuffer& out) {
  const BoxWriter trak(out, fourcc("trak"));
  write_tkhd(track, out);
  write_edts(track, timescale_of_movie, out);
  const BoxWriter mdia(out, fourcc("mdia"));
  write_mdhd(track, out);
  write_hdlr(track, out);
  const BoxWriter minf(out, fourcc("minf"));
  write_media_header(track, out);
  write_dinf(out);
  write_stbl(track, out);
}

void write_trex(const Track& track, ByteBuffer& out) {  // 8.8.3
  const BoxWriter trex(out, fourcc("trex"), 0, 0);
  append_be(out, track.id, 4);
  append_be(out, track.default_description, 4);
  append_be(out, track.nominal_duration, 4);
  append_be(out, track.default_size_bytes, 4);
  append_be(out, track.default_flags, 4);
}

}  // namespace

const Track* Movie::find(std::uint32_t track_id) const {
  for (const Track& track : tracks) {
    if (track.id == track_id) return &track;
  }
  return nullptr;
}

const Track* Movie::reference() const {
  for (const TrackKind kind : {TrackKind::video, TrackKind::audio}) {
    for (const Track& track : tracks) {
      if (track.kind == kind) return &track;
    }
  }
  return nullptr;
}

void write_init(const Movie& movie, ByteBuffer& out) {
  {
    const BoxWriter ftyp(out, fourcc("ftyp"));
    append_be(out, fourcc("iso6"), 4);
    append_be(out, 0, 4);
    append_be(out, fourcc("iso6"), 4);
    append_be(out, fourcc("mp41"), 4);
  }
  const BoxWriter moov(out, fourcc("moov"));
  write_mvhd(movie, out);
  for (const Track& track : movie.tracks) write_trak(track, movie_timescale(movie), out);
  const BoxWriter mvex(out, fourcc("mvex"));
  for (const Track& track : movie.tracks) write_trex(track, out);
}

Result<MergedMovie> merge(const Movie& current, const Movie& next) {
  if (current.tracks.size() != next.tracks.size()) {
    return fail(ErrorKind::refused, "the stream changed from " + std::to_string(current.tracks.size()) + " to " +
                                        std::to_string(next.tracks.size()) + " tracks");
  }
  MergedMovie merged{current, {}, false};
  for (const Track& track : next.tracks) {
    const auto same = std::find_if(merged.movie.tracks.begin(), merged.movie.tracks.end(),
                                   [&](const Track& known) { return known.id == track.id; });
    if (same == merged.movie.tracks.end() || same->kind != track.kind || same->timescale != track.timescale) {
      return fail(ErrorKind::refused,
                  "track " + std::to_string(track.id) + " is not the track that the stream began with");
    }
    std::vector<std::uint32_t>& indices = merged.map.emplace_back();
    for (const ByteBuffer& entry : track.descriptions) {
      auto found = std::find(same->descriptions.begin(), same->descriptions.end(), entry);
      if (found == same->descriptions.end()) {
        found = same->descriptions.insert(found, entry);
        merged.changed = true;
      }
      indices.push_back(static_cast<std::uint32_t>(found - same->descriptions.begin()) + 1);
    }
  }
  return merged;
}

}  // namespace mc::mp4
