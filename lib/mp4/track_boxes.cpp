#include "mp4/track_boxes.hpp"

#include <algorithm>

#include "mp4/sample_entry.hpp"

namespace mc::mp4 {
namespace {

void write_matrix(ByteBuffer& out) {  // 8.2.2.2: unity
  for (const std::uint32_t value : {0x10000U, 0U, 0U, 0U, 0x10000U, 0U, 0U, 0U, 0x40000000U}) append_be(out, value, 4);
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

}  // namespace

std::uint32_t id_above(std::uint32_t id, std::uint32_t next) { return std::max(next, id == UINT32_MAX ? id : id + 1); }

void write_mvhd(std::uint32_t timescale, std::uint64_t duration, std::uint32_t next_track_id,
                ByteBuffer& out) {  // 8.2.2
  const BoxWriter box(out, fourcc("mvhd"), 1, 0);
  append_zeros(out, 16);  // creation, modification
  append_be(out, timescale, 4);
  append_be(out, duration, 8);
  append_be(out, 0x00010000, 4);  // rate
  append_be(out, 0x0100, 2);      // volume
  append_zeros(out, 10);
  write_matrix(out);
  append_zeros(out, 24);
  append_be(out, next_track_id, 4);
}

void write_tkhd(const Track& track, std::uint64_t duration_in_movie_time, ByteBuffer& out) {  // 8.3.2
  const BoxWriter box(out, fourcc("tkhd"), 1, 3);                                             // enabled, in movie
  append_zeros(out, 16);
  append_be(out, track.id, 4);
  append_zeros(out, 4);
  append_be(out, duration_in_movie_time, 8);
  append_zeros(out, 12);  // reserved, layer, alternate group
  append_be(out, track.kind == TrackKind::audio ? 0x0100 : 0, 2);
  append_zeros(out, 2);
  write_matrix(out);
  append_be(out, shown_width(track), 4);
  append_be(out, static_cast<std::uint32_t>(track.height) << 16, 4);
}

void write_mdhd(const Track& track, std::uint64_t duration_in_track_time, ByteBuffer& out) {  // 8.4.2
  const BoxWriter box(out, fourcc("mdhd"), 1, 0);
  append_zeros(out, 16);
  append_be(out, track.timescale, 4);
  append_be(out, duration_in_track_time, 8);
  const bool valid = track.language.size() == 3 && std::all_of(track.language.begin(), track.language.end(),
                                                               [](char c) { return c >= 'a' && c <= 'z'; });
  std::uint32_t packed = 0;
  for (const char c : valid ? track.language : std::string("und")) {
    packed = packed << 5 | static_cast<std::uint32_t>(c - 0x60);
  }
  append_be(out, packed, 2);
  append_be(out, 0, 2);
}

void write_hdlr(TrackKind kind, ByteBuffer& out) {  // 8.4.3
  const BoxWriter box(out, fourcc("hdlr"), 0, 0);
  append_be(out, 0, 4);
  const char* title = "data";
  FourCc handler = fourcc("meta");
  if (kind == TrackKind::video) {
    handler = fourcc("vide");
    title = "picture";
  } else if (kind == TrackKind::audio) {
    handler = fourcc("soun");
    title = "sound";
  }
  append_be(out, handler, 4);
  append_zeros(out, 12);
  append(out, as_bytes(title));
  append_be(out, 0, 1);
}

void write_media_header(TrackKind kind, ByteBuffer& out) {  // 12.1.2, 12.2.2, 8.4.5.2
  if (kind == TrackKind::video) {
    const BoxWriter box(out, fourcc("vmhd"), 0, 1);
    append_zeros(out, 8);
  } else if (kind == TrackKind::audio) {
    const BoxWriter box(out, fourcc("smhd"), 0, 0);
    append_zeros(out, 4);
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

void write_stsd(const Track& track, ByteBuffer& out) {  // 8.5.2
  const BoxWriter stsd(out, fourcc("stsd"), 0, 0);
  append_be(out, track.descriptions.size(), 4);
  for (const ByteBuffer& entry : track.descriptions) append(out, entry);
}

void write_roll_sgpd(const Track& track, ByteBuffer& out) {  // 8.9.3, 10.1
  if (track.roll_distance == 0) return;
  const BoxWriter sgpd(out, fourcc("sgpd"), 1, 0);
  append_be(out, fourcc("roll"), 4);
  append_be(out, 2, 4);
  append_be(out, 1, 4);
  append_be(out, static_cast<std::uint16_t>(track.roll_distance), 2);
}

}  // namespace mc::mp4
