// A recorder on a scratch directory, fed by hand.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "spool/recorder.hpp"
#include "spool/recording.hpp"

namespace mc::spool {

// A clock that a test moves.
class TestClock final : public Clock {
 public:
  std::int64_t wall_ns() const override { return now_ns; }
  std::int64_t monotonic_ns() const override { return now_ns; }
  std::int64_t now_ns = 1'700'000'000'000'000'000;
};

// One picture track at 10 frames a second and one sound track at 50, as a stream of items.
class RecorderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "recorder-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name + "/s/001/alice";
    root_ = name;
    options_.clock = &clock_;
    options_.on_durable = [this](const DurableFrame&) { ++acknowledged_; };
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static mp4::Movie movie(std::uint8_t flavour = 1) {
    mp4::Movie m;
    m.tracks.resize(2);
    m.tracks[0].id = 1;
    m.tracks[0].kind = mp4::TrackKind::video;
    m.tracks[0].timescale = 1000;
    m.tracks[0].nominal_duration = 100;
    m.tracks[0].width = 16;
    m.tracks[0].height = 16;
    m.tracks[0].descriptions = {entry("avc1", flavour)};
    m.tracks[1].id = 2;
    m.tracks[1].kind = mp4::TrackKind::audio;
    m.tracks[1].timescale = 8000;
    m.tracks[1].nominal_duration = 160;
    m.tracks[1].sample_rate = 8000;
    m.tracks[1].channels = 1;
    m.tracks[1].descriptions = {entry("fLaC", 1)};
    return m;
  }
  // A sample entry that is a box and no more; `flavour` makes another one of it.
  static ByteBuffer entry(const char (&type)[5], std::uint8_t flavour) {
    ByteBuffer box;
    const bool video = type[0] == 'a';
    const std::size_t fixed = video ? 78 : 28;
    append_be(box, 8 + fixed + 9, 4);
    append(box, as_bytes(std::string_view(type, 4)));
    box.resize(8 + fixed);
    box[15] = 1;  // data_reference_index
    if (video) {
      store_be(&box[8 + 24], 16, 2);
      store_be(&box[8 + 26], 16, 2);
    } else {
      store_be(&box[8 + 16], 1, 2);
      store_be(&box[8 + 24], 8000U << 16U, 4);
    }
    append_be(box, 9, 4);
    append(box, as_bytes("free"));
    box.push_back(flavour);
    return box;
  }

  static mp4::SampleItem picture(std::uint64_t ms, bool sync) {
    mp4::SampleItem item;
    item.sample = {1, 1, ms, 100, 0, 5, sync};
    item.data = {0, 0, 0, 1, static_cast<std::uint8_t>(ms / 100)};
    return item;
  }
  static mp4::SampleItem sound(std::uint64_t ms) {
    mp4::SampleItem item;
    item.sample = {2, 1, ms * 8, 160, 0, 3, true};
    item.data = {7, 7, static_cast<std::uint8_t>(ms / 20)};
    return item;
  }
  static mp4::EventItem event(std::string json, std::uint64_t ms = 0) {
    mp4::Event e;
    e.time = ms;
    e.json = std::move(json);
    return {e};
  }

  // Pictures and sound from `from` to `to`, a key frame at each whole second.
  static void feed(Recorder& r, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t ms = from; ms < to; ms += 20) {
      if (ms % 100 == 0) {
        ASSERT_TRUE(r.take(picture(ms, ms % 1000 == 0)));
      }
      ASSERT_TRUE(r.take(sound(ms)));
    }
  }

  Recorder open() {
    auto recorder = Recorder::open(sys::real_file_system(), directory_, options_);
    EXPECT_TRUE(recorder) << recorder.error().message;
    recorder->begin_stream();
    return std::move(*recorder);
  }
  VerifyReport verify() {
    auto report = verify_recording(sys::real_file_system(), directory_, {});
    EXPECT_TRUE(report);
    for (const auto& finding : report->findings)
      ADD_FAILURE() << finding.name << ": " << finding.problem << ": " << finding.detail;
    return *report;
  }
  wire::Manifest manifest() { return load_manifest(sys::real_file_system(), directory_)->manifest; }

  TestClock clock_;
  RecorderOptions options_;
  std::string root_;
  std::string directory_;
  std::uint64_t acknowledged_ = 0;
};

}  // namespace mc::spool
