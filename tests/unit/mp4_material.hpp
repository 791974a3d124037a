// What the tests of mp4 are made of: small movies, samples, and headers of real encoders.
#pragma once

#include <string_view>
#include <vector>

#include "mp4/codec.hpp"
#include "mp4/fragment.hpp"
#include "mp4/stream_parser.hpp"

namespace mc::mp4::material {

// Hex digits; anything else between them is for the reader.
inline ByteBuffer unhex(std::string_view text) {
  ByteBuffer out;
  int high = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<std::uint8_t>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

inline ByteBuffer joined(std::initializer_list<ByteView> parts) {
  ByteBuffer out;
  for (const ByteView part : parts) append(out, part);
  return out;
}

// Where `text` first stands in `bytes` from `from` on.
inline std::size_t find_in(ByteView bytes, std::string_view text, std::size_t from = 0) {
  return as_text(bytes).find(text, from);
}

// libx264, 318x242, High: an avcC, and the two parameter sets in it.
inline const ByteBuffer kAvcC =
    unhex("0164000dffe1001a6764000dacd9414087a88c0440000003004000000f03c50a65800100 0468ef8fcbfdf8f800");
inline const ByteBuffer kSps = unhex("6764000dacd9414087a88c0440000003004000000f03c50a6580");
inline const ByteBuffer kPps = unhex("68ef8fcb");
// libx264, 318x242, High 4:4:4 at 10 bits.
inline const ByteBuffer kSps444 = unhex("67f4000d90d9b282810f71f80880000003008000001e078a14cb");
inline const ByteBuffer kPps444 = unhex("68ebe3c44844");
// libx265, 318x242, Main: VPS, SPS, PPS.
inline const ByteBuffer kHevcVps = unhex("40010c01ffff01600000030090000003000003003c959809");
inline const ByteBuffer kHevcSps =
    unhex("42010101600000030090000003000003003ca00a080f9d4996566924caf0168080000003008000000f04");
inline const ByteBuffer kHevcPps = unhex("4401c172b46240");
inline const ByteBuffer kHvcC = unhex(
    "01 01 60000000 900000000000 3c f000 fc fd f8 f8 0000 0f 03"
    "a0 0001 0018 40010c01ffff01600000030090000003000003003c959809"
    "a1 0001 002a 42010101600000030090000003000003003ca00a080f9d4996566924caf0168080000003008000000f04"
    "a2 0001 0007 4401c172b46240");

inline Track sound_track(std::uint32_t id) {
  CodecParameters parameters;
  parameters.codec = Codec::opus;
  parameters.channels = 1;
  Track track;
  track.id = id;
  track.kind = TrackKind::audio;
  track.timescale = 48000;
  track.nominal_duration = 960;
  track.sample_rate = 48000;
  track.channels = 1;
  track.descriptions.push_back(*make_sample_entry(parameters, {}));
  return track;
}

inline Track picture_track(std::uint32_t id, std::uint32_t timescale = 90000, std::uint32_t nominal = 3000) {
  CodecParameters parameters;
  parameters.codec = Codec::h264;
  parameters.extradata = kAvcC;
  Track track;
  track.id = id;
  track.kind = TrackKind::video;
  track.timescale = timescale;
  track.nominal_duration = nominal;
  track.width = 318;
  track.height = 242;
  track.descriptions.push_back(*make_sample_entry(parameters, {}));
  return track;
}

inline Sample sample(std::uint32_t track_id, std::uint64_t decode_time, std::uint32_t duration, std::uint32_t size) {
  Sample s;
  s.track_id = track_id;
  s.decode_time = decode_time;
  s.duration = duration;
  s.size_bytes = size;
  return s;
}

// A whole fragment; the bytes of sample i are all `first_byte + i`.
inline void add_fragment(ByteBuffer& out, const std::vector<Sample>& samples, std::uint8_t first_byte = 1) {
  const auto written = write_fragment_header(1, samples, out);
  if (!written) return;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    out.resize(out.size() + samples[i].size_bytes, static_cast<std::uint8_t>(first_byte + i));
  }
}

// Everything that a stream gives, pushed `step` bytes at a time.
struct Read {
  std::vector<Item> items;
  std::vector<SampleItem> samples;
  StreamParser::End end;
  std::optional<Error> error;
};
inline Read read_stream(ByteView stream, std::size_t step) {
  StreamParser parser;
  Read read;
  for (std::size_t at = 0; at < stream.size() && !read.error; at += step) {
    parser.push(stream.subspan(at, std::min(step, stream.size() - at)));
    while (true) {
      auto item = parser.next();
      if (!item) {
        read.error = item.error();
        break;
      }
      if (!*item) break;
      if (const auto* found = std::get_if<SampleItem>(&**item)) read.samples.push_back(*found);
      read.items.push_back(std::move(**item));
    }
  }
  read.end = parser.finish();
  return read;
}

}  // namespace mc::mp4::material
