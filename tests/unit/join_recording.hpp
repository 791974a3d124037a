// For the tests of join: recording directories made by hand, and a reader of progressive files that knows nothing of
// the writer: it follows ISO/IEC 14496-12 from the tables back to frames.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "digest/sha256.hpp"
#include "mp4/box.hpp"
#include "mp4/fragment.hpp"
#include "mp4/movie.hpp"
#include "wire/manifest.hpp"

namespace mc::join_test {

inline ByteBuffer visual_entry(std::uint16_t width, std::uint16_t height, std::uint8_t tag) {
  ByteBuffer out;
  mp4::BoxWriter entry(out, mp4::fourcc("avc1"));
  out.resize(out.size() + 6);
  append_be(out, 1, 2);
  out.resize(out.size() + 16);
  append_be(out, width, 2);
  append_be(out, height, 2);
  append_be(out, 0x00480000, 4);
  append_be(out, 0x00480000, 4);
  append_be(out, 0, 4);
  append_be(out, 1, 2);
  out.resize(out.size() + 32);
  append_be(out, 0x18, 2);
  append_be(out, 0xFFFF, 2);
  mp4::BoxWriter config(out, mp4::fourcc("avcC"));
  const ByteBuffer avcc = {1, 0x42, 0, 0x1E, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0, tag, 1, 0, 2, 0x68, 0xCE};
  append(out, avcc);
  return out;
}

inline ByteBuffer sound_entry(std::uint16_t rate) {
  ByteBuffer out;
  mp4::BoxWriter entry(out, mp4::fourcc("Opus"));
  out.resize(out.size() + 6);
  append_be(out, 1, 2);
  out.resize(out.size() + 8);
  append_be(out, 2, 2);
  append_be(out, 16, 2);
  append_be(out, 0, 4);
  append_be(out, std::uint64_t{rate} << 16, 4);
  mp4::BoxWriter config(out, mp4::fourcc("dOps"));
  const ByteBuffer dops = {0, 2, 1, 0x38, 0, 0, 0xBB, 0x80, 0, 0, 0};
  append(out, dops);
  return out;
}

inline mp4::Track picture(std::uint32_t id = 1, std::uint32_t timescale = 90000) {
  mp4::Track track;
  track.id = id;
  track.kind = mp4::TrackKind::video;
  track.timescale = timescale;
  track.nominal_duration = timescale / 30;
  track.width = 320;
  track.height = 180;
  track.descriptions = {visual_entry(320, 180, 1)};
  return track;
}

inline mp4::Track sound(std::uint32_t id = 2, std::uint32_t timescale = 48000) {
  mp4::Track track;
  track.id = id;
  track.kind = mp4::TrackKind::audio;
  track.timescale = timescale;
  track.nominal_duration = 960;
  track.sample_rate = 48000;
  track.channels = 2;
  track.descriptions = {sound_entry(48000)};
  return track;
}

// The bytes of a frame: different for each, and the same every time.
inline ByteBuffer frame_bytes(const mp4::Sample& sample) {
  ByteBuffer bytes(sample.size_bytes);
  std::uint64_t state = sample.track_id * 0x9E3779B97F4A7C15U + sample.decode_time * 0xBF58476D1CE4E5B9U + 1;
  for (std::uint8_t& byte : bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::uint8_t>(state >> 56);
  }
  return bytes;
}

class Recording {
 public:
  Recording() {
    char pattern[] = "/tmp/mc-join-test-XXXXXX";
    if (::mkdtemp(pattern) == nullptr) std::abort();
    directory_ = pattern;
    manifest_ = wire::header_line() +
                wire::recording_line("00112233445566778899aabbccddeeff", {"studio", "001", "alice"}) +
                wire::t0_line(1'700'000'000'000'000'000, 100);
  }
  explicit Recording(const mp4::Movie& movie) : Recording() { add_init(movie); }
  Recording(const Recording&) = delete;
  ~Recording() { std::filesystem::remove_all(directory_); }

  void add_init(const mp4::Movie& movie) {
    ByteBuffer bytes;
    mp4::write_init(movie, bytes);
    wire::InitLine line;
    line.number = {++inits_};
    line.bytes = bytes.size();
    for (const mp4::Track& track : movie.tracks) {
      line.tracks.push_back({track.id, track.kind == mp4::TrackKind::video ? "video" : "audio", track.timescale,
                             track.nominal_duration, "x"});
    }
    put(wire::init_name(line.number), bytes);
    manifest_ += wire::init_lines(line, digest::sha256_hex(bytes));
    write_manifest();
  }

  // One chunk; each inner list is one fragment (one moof and mdat) of one track.
  void add_chunk(const std::vector<std::vector<mp4::Sample>>& fragments) {
    ByteBuffer bytes;
    mp4::write_styp(bytes);
    mp4::write_prft({1, 0, 1'700'000'000'000'000'000}, bytes);
    wire::ChunkLine line;
    line.number = {++chunks_};
    line.init = {inits_};
    line.start = {0, 1000};
    line.duration = {1000, 1000};
    for (const auto& fragment : fragments) {
      const Status written = mp4::write_fragment_header(++sequence_, fragment, bytes);
      ASSERT_TRUE(written) << written.error().message;
      for (const mp4::Sample& sample : fragment) {
        append(bytes, frame_bytes(sample));
        frames.push_back(sample);
        (sample.track_id == 1 ? line.video : line.audio) += 1;
      }
    }
    line.bytes = bytes.size();
    put(wire::chunk_name(line.number), bytes);
    manifest_ += wire::chunk_lines(line, digest::sha256_hex(bytes));
    write_manifest();
  }

  void close() {
    manifest_ += wire::end_line(chunks_, digest::sha256_hex(as_bytes(manifest_)));
    write_manifest();
  }

  const std::string& directory() const { return directory_; }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string chunk(std::uint32_t number) const { return path(wire::chunk_name({number})); }

  // A new file each time: ext4 flushes one that was cut to nothing and written again.
  void put(const std::string& name, ByteView bytes) const {
    std::filesystem::remove(path(name));
    std::ofstream(path(name), std::ios::binary)
        .write(as_text(bytes).data(), static_cast<std::streamsize>(bytes.size()));
  }
  ByteBuffer get(const std::string& name) const { return read(path(name)); }
  static ByteBuffer read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    return {text.begin(), text.end()};
  }
  void flip(const std::string& name, std::size_t at) const {
    std::fstream file(path(name), std::ios::binary | std::ios::in | std::ios::out);
    char byte = 0;
    file.seekg(static_cast<std::streamoff>(at)).get(byte);
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(file);
  }
  std::string manifest_text() const { return manifest_; }

  std::vector<mp4::Sample> frames;  // all that were added, in order

 private:
  void write_manifest() const { put(wire::kManifestName, as_bytes(manifest_)); }

  std::string directory_;
  std::string manifest_;
  std::uint32_t inits_ = 0, chunks_ = 0, sequence_ = 0;
};

// `n` frames of a track from `decode_time` on, each `duration` long; the first is a key frame.
inline std::vector<mp4::Sample> run_of(std::uint32_t track, std::uint64_t decode_time, std::uint32_t n,
                                       std::uint32_t duration, std::uint32_t size = 200) {
  std::vector<mp4::Sample> out;
  for (std::uint32_t i = 0; i < n; ++i) {
    mp4::Sample sample;
    sample.track_id = track;
    sample.decode_time = decode_time + std::uint64_t{i} * duration;
    sample.duration = duration;
    sample.size_bytes = size + 7 * (i % 5);
    sample.sync = i == 0 || track != 1;
    out.push_back(sample);
  }
  return out;
}

// A frame as a player of the progressive file sees it.
struct PlayedFrame {
  double presentation_s = 0;  // NaN-free: frames outside of every edit have `presented` false
  bool presented = false;
  std::uint32_t description = 0;
  bool sync = true;
  std::uint64_t delta = 0;  // its stts duration
  ByteBuffer bytes;
};
struct PlayedTrack {
  std::uint32_t timescale = 0;
  std::vector<PlayedFrame> frames;
  std::map<std::string, ByteBuffer> boxes;  // leaf boxes by type
};
struct PlayedFile {
  std::vector<std::string> top_level;
  std::uint32_t movie_timescale = 0;
  double movie_duration_s = 0;
  std::map<std::uint32_t, PlayedTrack> tracks;
};

inline void collect(ByteView bytes, std::map<std::string, ByteBuffer>& boxes) {
  const auto status = mp4::for_each_box(bytes, [&](const mp4::Box& box) -> Status {
    const std::string type = mp4::to_text(box.type);
    if (type == "mdia" || type == "minf" || type == "stbl" || type == "edts") {
      collect(box.payload, boxes);
    } else {
      boxes[type].assign(box.payload.begin(), box.payload.end());
    }
    return {};
  });
  ASSERT_TRUE(status);
}

inline PlayedTrack play_track(ByteView trak, ByteView file, std::uint32_t movie_timescale, std::uint32_t& id) {
  PlayedTrack track;
  collect(trak, track.boxes);
  auto reader = [&](const char* type) { return mp4::FieldReader(track.boxes[type]); };
  mp4::FieldReader tkhd = reader("tkhd");
  tkhd.skip(20);
  id = tkhd.u32();
  mp4::FieldReader mdhd = reader("mdhd");
  mdhd.skip(20);
  track.timescale = mdhd.u32();

  mp4::FieldReader stsz = reader("stsz");
  stsz.skip(8);
  const std::uint32_t n = stsz.u32();
  std::vector<std::uint32_t> sizes;
  for (std::uint32_t i = 0; i < n; ++i) sizes.push_back(stsz.u32());
  EXPECT_TRUE(stsz.ok());
  track.frames.resize(n);

  std::vector<std::int64_t> decode, offset(n, 0);
  mp4::FieldReader stts = reader("stts");
  stts.skip(4);
  std::int64_t at = 0;
  for (std::uint32_t i = stts.u32(); i > 0; --i) {
    const std::uint32_t count = stts.u32();
    const std::uint32_t delta = stts.u32();
    for (std::uint32_t k = 0; k < count; ++k, at += delta) {
      track.frames.at(decode.size()).delta = delta;
      decode.push_back(at);
    }
  }
  EXPECT_EQ(decode.size(), n);
  if (track.boxes.contains("ctts")) {
    mp4::FieldReader ctts = reader("ctts");
    EXPECT_EQ(ctts.u32(), 0x01000000U);
    std::size_t k = 0;
    for (std::uint32_t i = ctts.u32(); i > 0; --i) {
      const std::uint32_t count = ctts.u32();
      const auto value = static_cast<std::int32_t>(ctts.u32());
      for (std::uint32_t j = 0; j < count; ++j) offset.at(k++) = value;
    }
    EXPECT_EQ(k, n);
  }
  if (track.boxes.contains("stss")) {
    for (PlayedFrame& frame : track.frames) frame.sync = false;
    mp4::FieldReader stss = reader("stss");
    stss.skip(4);
    for (std::uint32_t i = stss.u32(); i > 0; --i) track.frames.at(stss.u32() - 1).sync = true;
  }
  const bool wide = track.boxes.contains("co64");
  mp4::FieldReader offsets = reader(wide ? "co64" : "stco");
  offsets.skip(4);
  const std::uint32_t chunks = offsets.u32();
  mp4::FieldReader stsc = reader("stsc");
  stsc.skip(4);
  std::uint32_t runs = stsc.u32();
  std::uint32_t next_first = stsc.u32(), per_chunk = 0, description = 0;
  std::size_t k = 0;
  for (std::uint32_t chunk = 1; chunk <= chunks; ++chunk) {
    if (runs > 0 && chunk == next_first) {
      per_chunk = stsc.u32();
      description = stsc.u32();
      next_first = --runs > 0 ? stsc.u32() : 0;
    }
    std::uint64_t position = wide ? offsets.u64() : offsets.u32();
    for (std::uint32_t i = 0; i < per_chunk; ++i, ++k) {
      PlayedFrame& frame = track.frames.at(k);
      frame.description = description;
      if (position + sizes[k] > file.size()) {
        ADD_FAILURE() << "frame " << k << " of track " << id << " lies outside of the file";
        return track;
      }
      const ByteView bytes = file.subspan(static_cast<std::size_t>(position), sizes[k]);
      frame.bytes.assign(bytes.begin(), bytes.end());
      position += sizes[k];
    }
  }
  EXPECT_EQ(k, n);

  struct Edit {
    double start_s, duration_s;
    std::int64_t media;
  };
  std::vector<Edit> edits;
  if (track.boxes.contains("elst")) {
    mp4::FieldReader elst = reader("elst");
    EXPECT_EQ(elst.u32(), 0x01000000U);
    double now = 0;
    for (std::uint32_t i = elst.u32(); i > 0; --i) {
      const double duration = static_cast<double>(elst.u64()) / movie_timescale;
      const auto media = static_cast<std::int64_t>(elst.u64());
      elst.skip(4);
      if (media >= 0) edits.push_back({now, duration, media});
      now += duration;
    }
  } else {
    edits.push_back({0, 1e12, 0});
  }
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t composition = decode[i] + offset[i];
    for (const Edit& edit : edits) {
      const double into = static_cast<double>(composition - edit.media) / track.timescale;
      if (into < -1e-9 || into >= edit.duration_s - 1e-9) continue;
      track.frames[i].presented = true;
      track.frames[i].presentation_s = edit.start_s + into;
    }
  }
  return track;
}

inline PlayedFile play(ByteView file) {
  PlayedFile played;
  const auto status = mp4::for_each_box(file, [&](const mp4::Box& box) -> Status {
    played.top_level.push_back(mp4::to_text(box.type));
    if (played.top_level.back() != "moov") return {};
    return mp4::for_each_box(box.payload, [&](const mp4::Box& inner) -> Status {
      if (inner.type == mp4::fourcc("mvhd")) {
        mp4::FieldReader mvhd(inner.payload);
        mvhd.skip(20);
        played.movie_timescale = mvhd.u32();
        played.movie_duration_s = static_cast<double>(mvhd.u64()) / played.movie_timescale;
      } else if (inner.type == mp4::fourcc("trak")) {
        std::uint32_t id = 0;
        PlayedTrack track = play_track(inner.payload, file, played.movie_timescale, id);
        played.tracks[id] = std::move(track);
      }
      return {};
    });
  });
  EXPECT_TRUE(status);
  return played;
}

}  // namespace mc::join_test
