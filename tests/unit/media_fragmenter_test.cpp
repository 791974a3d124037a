#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/units.hpp"
#include "media/fragmenter.hpp"
#include "mp4/stream_parser.hpp"

namespace mc::media {
namespace {

class SteppedClock : public Clock {
 public:
  std::int64_t now = 1'000'000'000;
  std::int64_t wall_ns() const override { return 1'795'341'600'000'000'000 + now; }
  std::int64_t monotonic_ns() const override { return now; }
};

class FakeSource : public Source {
 public:
  std::vector<Stream> all;
  Tags all_tags;
  const std::vector<Stream>& streams() const override { return all; }
  const Tags& tags() const override { return all_tags; }
  Result<std::optional<Packet>> next() override { return std::optional<Packet>{}; }
  SourceEnd end() const override { return {}; }
};

Stream vp9(std::int64_t timescale) {
  Stream stream;
  stream.kind = StreamKind::picture;
  stream.codec_name = "vp9";
  stream.time_base = {1, timescale};
  stream.parameters.emplace();
  stream.parameters->codec = mp4::Codec::vp9;
  stream.parameters->width = 320;
  stream.parameters->height = 180;
  return stream;
}

Stream aac(std::int64_t timescale) {
  Stream stream;
  stream.kind = StreamKind::sound;
  stream.codec_name = "aac";
  stream.time_base = {1, timescale};
  stream.parameters.emplace();
  stream.parameters->codec = mp4::Codec::aac;
  stream.parameters->extradata = {0x11, 0x90};
  stream.parameters->sample_rate = 48000;
  stream.parameters->channels = 2;
  return stream;
}

// The head of a VP9 frame: frame_marker 2, profile 0, then show_existing_frame, frame_type, show_frame, error_res.
ByteBuffer vp9_frame(bool key) {
  return key ? ByteBuffer{0x82, 0x49, 0x83, 0x42, 0, 0, 0, 0, 0, 0} : ByteBuffer{0x86, 0, 0, 0};
}

class FragmenterTest : public testing::Test {
 protected:
  SteppedClock clock;
  FakeSource source;
  int fd = ::memfd_create("out", 0);
  GatherWriter out{[this]() -> Result<int> { return fd; }, "memory"};
  std::optional<Fragmenter> fragmenter;

  ~FragmenterTest() override { ::close(fd); }

  void begin(std::optional<std::int64_t> t0_ns = std::nullopt) {
    FragmenterOptions options;
    options.clock = &clock;
    options.t0_wall_ns = t0_ns;
    fragmenter.emplace(source, out, options);
  }
  void add(std::uint32_t stream, std::int64_t pts, ByteView data, bool key = true) {
    const auto added = fragmenter->add({stream, pts, key, data});
    ASSERT_TRUE(added) << added.error().message;
  }
  void picture(std::int64_t pts, bool key) { add(0, pts, vp9_frame(key), key); }
  void sound(std::uint32_t stream, std::int64_t pts) { add(stream, pts, ByteBuffer{0x21, 0x10, 0x04}); }

  struct Output {
    std::vector<mp4::Movie> inits;
    std::vector<mp4::Sample> samples;
    std::vector<json::object> events;
    std::vector<mp4::ProducerTime> times;
    std::size_t segments = 0;
  };
  Output output() {
    EXPECT_TRUE(out.flush());
    ByteBuffer bytes(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)));
    EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    mp4::StreamParser parser;
    parser.push(bytes);
    Output found;
    for (;;) {
      auto item = parser.next();
      EXPECT_TRUE(item);
      if (!item || !*item) return found;
      if (auto* init = std::get_if<mp4::InitItem>(&**item)) found.inits.push_back(init->movie);
      if (std::holds_alternative<mp4::SegmentItem>(**item)) ++found.segments;
      if (auto* time = std::get_if<mp4::ProducerTimeItem>(&**item)) found.times.push_back(time->time);
      if (auto* event = std::get_if<mp4::EventItem>(&**item))
        found.events.push_back(*json::parse_object(event->event.json));
      if (auto* sample = std::get_if<mp4::SampleItem>(&**item)) found.samples.push_back(sample->sample);
    }
  }
  static std::vector<std::int64_t> times_of(const Output& found, std::uint32_t track) {
    std::vector<std::int64_t> times;
    for (const auto& sample : found.samples) {
      if (sample.track_id != track) continue;
      times.push_back(static_cast<std::int64_t>(sample.decode_time) + sample.composition_offset);
    }
    return times;
  }
};

TEST_F(FragmenterTest, ZeroIsTheEarliestOfTheFirstPackets) {
  source.all = {vp9(90000), aac(48000)};
  begin();
  picture(90000, true);
  sound(1, 47000);
  picture(93000, false);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  EXPECT_EQ(times_of(found, 1), (std::vector<std::int64_t>{1875, 4875}));  // 1000/48000 s later
  EXPECT_EQ(times_of(found, 2), (std::vector<std::int64_t>{0}));
}

TEST_F(FragmenterTest, ASilentStreamHoldsTheFirstFrameNoLongerThanAMoment) {
  source.all = {vp9(90000), aac(48000)};
  begin();
  picture(0, true);
  const auto wait_ms = fragmenter->before_read(false);
  ASSERT_TRUE(wait_ms);
  EXPECT_GT(*wait_ms, 0);
  EXPECT_LE(*wait_ms, 60);
  EXPECT_FALSE(fragmenter->wrote_init());
  clock.now += Fragmenter::kHoldNs;
  ASSERT_TRUE(fragmenter->before_read(true));
  EXPECT_TRUE(fragmenter->wrote_init());
  const Output found = output();
  ASSERT_EQ(found.inits.size(), 1U);
  EXPECT_EQ(found.inits[0].tracks.size(), 2U) << "the silent stream has its track";
  EXPECT_EQ(found.samples.size(), 1U);
}

// A machine that is busy: the sound is there to read, but it took us a while to come to it.
TEST_F(FragmenterTest, SoundThatWaitsToBeReadIsNotTakenForASilentStream) {
  source.all = {vp9(90000), aac(48000)};
  begin();
  picture(90000, true);
  clock.now += 3 * Fragmenter::kHoldNs;
  const auto wait_ms = fragmenter->before_read(false);
  ASSERT_TRUE(wait_ms);
  EXPECT_EQ(*wait_ms, 1);
  EXPECT_FALSE(fragmenter->wrote_init());
  picture(93000, false);
  EXPECT_FALSE(fragmenter->wrote_init());
  sound(1, 47000);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  EXPECT_EQ(times_of(output(), 2), (std::vector<std::int64_t>{0})) << "and nothing of it is before zero";
}

TEST_F(FragmenterTest, WithATaggedZeroNothingIsHeld) {
  source.all = {vp9(90000), aac(48000)};
  source.all_tags = {
      {"maycast-t0", "2026-11-22T10:00:00.500000000Z"}, {"maycast-bound-us", "340"}, {"maycast-recording", "0f8e"}};
  const std::int64_t t0 = *parse_utc("2026-11-22T10:00:00.500000000Z");
  begin();
  picture(rescale(t0, 1'000'000'000, 90000) + 3000, true);
  EXPECT_TRUE(fragmenter->wrote_init());
  const Output found = output();
  EXPECT_EQ(times_of(found, 1), (std::vector<std::int64_t>{3000}));
  ASSERT_GE(found.events.size(), 1U);
  EXPECT_EQ(json::get_string(found.events[0], "event"), "start");
  EXPECT_EQ(json::get_string(found.events[0], "t0"), "2026-11-22T10:00:00.500000000Z");
  EXPECT_EQ(json::get_int(found.events[0], "bound-us"), 340);
  EXPECT_EQ(json::get_string(found.events[0], "recording"), "0f8e");
  ASSERT_EQ(found.times.size(), 1U);
  EXPECT_EQ(
      found.times[0].wall_ns - rescale(static_cast<std::int64_t>(found.times[0].media_time), 90000, 1'000'000'000), t0);
}

TEST_F(FragmenterTest, PictureBeforeTheFirstKeyFrameIsDroppedAndTold) {
  source.all = {vp9(90000), aac(48000)};
  begin();
  sound(1, 0);
  picture(0, false);
  picture(3000, false);
  picture(6000, true);
  picture(9000, false);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  EXPECT_EQ(times_of(found, 1), (std::vector<std::int64_t>{6000, 9000}));
  const auto gap = std::find_if(found.events.begin(), found.events.end(),
                                [](const json::object& event) { return json::get_string(event, "event") == "gap"; });
  ASSERT_NE(gap, found.events.end());
  EXPECT_EQ(json::get_string(*gap, "reason"), "before-key-frame");
  EXPECT_EQ(json::get_int(*gap, "track"), 1);
  EXPECT_EQ(json::get_int(*gap, "from"), 0);
  EXPECT_EQ(json::get_int(*gap, "to"), 6000);
}

TEST_F(FragmenterTest, WhatLiesBeforeAGivenZeroIsLeftOut) {
  source.all = {vp9(90000), aac(48000)};
  begin(10'000'000'000);
  picture(897000, true);
  sound(1, 479000);
  picture(900000, false);
  sound(1, 480000);
  picture(903000, true);
  picture(906000, false);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  EXPECT_EQ(times_of(found, 1), (std::vector<std::int64_t>{3000, 6000})) << "from the first key frame past it";
  EXPECT_EQ(times_of(found, 2), (std::vector<std::int64_t>{0}));
}

TEST_F(FragmenterTest, BFramesKeepTheirTimesAndDecodeTimesRiseFromZero) {
  source.all = {vp9(90000)};  // any codec that needs no parameter sets will do
  source.all[0].decode_delay = 2;
  source.all[0].nominal_ticks = 3000;
  begin();
  const std::vector<std::int64_t> pts{6000, 18000, 12000, 9000, 15000};
  for (std::size_t i = 0; i < pts.size(); ++i) picture(pts[i], i == 0);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  EXPECT_EQ(times_of(found, 1), pts);
  std::vector<std::uint64_t> decode;
  for (const auto& sample : found.samples) {
    decode.push_back(sample.decode_time);
    EXPECT_GE(sample.composition_offset, 0);
  }
  EXPECT_EQ(decode, (std::vector<std::uint64_t>{0, 3000, 6000, 9000, 12000}));
}

TEST_F(FragmenterTest, BFramesAtAGivenZeroAreShiftedNotCut) {
  source.all = {vp9(90000)};
  source.all[0].decode_delay = 2;
  source.all[0].nominal_ticks = 3000;
  begin(1'000'000'000);
  const std::vector<std::int64_t> pts{0, 12000, 6000, 3000, 9000};
  for (std::size_t i = 0; i < pts.size(); ++i) picture(90000 + pts[i], i == 0);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  EXPECT_EQ(times_of(found, 1), pts);
  for (std::size_t i = 0; i < found.samples.size(); ++i) EXPECT_EQ(found.samples[i].decode_time, i * 3000);
}

TEST_F(FragmenterTest, PrimingIsDeclaredOnlyWhenItIsStated) {
  source.all = {aac(48000), aac(48000)};
  source.all[0].priming_samples = 1024;
  begin();
  sound(0, 0);
  sound(1, 1024);
  sound(0, 1024);
  sound(1, 2048);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  ASSERT_EQ(found.inits.size(), 1U);
  EXPECT_EQ(found.inits[0].tracks[0].media_time, 1024);
  EXPECT_EQ(found.inits[0].tracks[0].roll_distance, -1);
  EXPECT_EQ(found.inits[0].tracks[1].media_time, 0);
  EXPECT_EQ(found.inits[0].tracks[1].roll_distance, 0);
  // Shown at 0 - 1024 + 1024 and at 0: the same moment.
  EXPECT_EQ(times_of(found, 1), (std::vector<std::int64_t>{0, 1024}));
  EXPECT_EQ(times_of(found, 2), (std::vector<std::int64_t>{0, 1024}));
}

TEST_F(FragmenterTest, TimesThatStandStillRiseByATick) {
  source.all = {aac(48000)};
  begin();
  for (const std::int64_t pts : {0, 1024, 1024, 1000, 3072}) sound(0, pts);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  std::vector<std::uint64_t> decode;
  for (const auto& sample : output().samples) decode.push_back(sample.decode_time);
  EXPECT_EQ(decode, (std::vector<std::uint64_t>{0, 1024, 1025, 1026, 3072}));
}

TEST_F(FragmenterTest, AClockThatIsSetBackMovesAllTracksAlike) {
  source.all = {vp9(90000), aac(48000)};
  begin();
  // Ten frames of 0.1 s each of both; then the source's clock is 3 s back.
  for (std::int64_t i = 100; i < 120; ++i) {
    const std::int64_t back = i < 110 ? 0 : 3;
    picture(i * 9000 - back * 90000, i == 100);
    sound(1, i * 4800 - back * 48000);
  }
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  // The interval in front of the jump is a guess at the nominal one for the first track; the second follows exactly.
  const auto pictures = times_of(found, 1);
  const auto sounds = times_of(found, 2);
  ASSERT_EQ(pictures.size(), 20U);
  ASSERT_EQ(sounds.size(), 20U);
  for (std::size_t i = 1; i < 20; ++i) {
    EXPECT_GT(pictures[i], pictures[i - 1]);
    EXPECT_LE(pictures[i] - pictures[i - 1], 9000);
  }
  const std::int64_t moved_pictures = pictures[19] - 19 * 9000;
  const std::int64_t moved_sounds = sounds[19] - 19 * 4800;
  EXPECT_NEAR(static_cast<double>(moved_pictures) / 90000, static_cast<double>(moved_sounds) / 48000, 1.0 / 48000);
  const auto told = std::ranges::count_if(
      found.events, [](const json::object& event) { return json::get_string(event, "event") == "clock"; });
  EXPECT_EQ(told, 1);
}

TEST_F(FragmenterTest, ATimeBaseWithANumeratorLosesNothing) {
  source.all = {vp9(30000)};
  source.all[0].time_base = {1001, 30000};
  begin();
  for (std::int64_t i = 0; i < 5; ++i) picture(i, i == 0);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  EXPECT_EQ(found.inits.at(0).tracks.at(0).timescale, 30000U);
  EXPECT_EQ(times_of(found, 1), (std::vector<std::int64_t>{0, 1001, 2002, 3003, 4004}));
}

TEST_F(FragmenterTest, EventsOfTheStreamArePassedOnAtTheirTimesAndItsEndIsNotInvented) {
  Stream events;
  events.kind = StreamKind::events;
  events.time_base = {1, 1'000'000};
  source.all = {aac(48000), events};
  begin();
  add(1, 5'000'000, as_bytes(R"({"event":"start","audio":"alsa:default"})"));
  sound(0, 240000);
  add(1, 5'500'000, as_bytes(R"({"event":"mark","text":"one"})"));
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  const Output found = output();
  ASSERT_EQ(found.events.size(), 2U);
  EXPECT_EQ(json::get_string(found.events[0], "event"), "start");
  EXPECT_EQ(json::get_string(found.events[0], "audio"), "alsa:default") << "one start event with all that is known";
  EXPECT_EQ(json::get_string(found.events[1], "event"), "mark");
}

TEST_F(FragmenterTest, WithoutAnEventStreamAWholeInputSaysTheEnd) {
  source.all = {aac(48000)};
  begin();
  sound(0, 0);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  EXPECT_EQ(json::get_string(output().events.back(), "event"), "end");
}

TEST_F(FragmenterTest, ABrokenInputDoesNot) {
  source.all = {aac(48000)};
  begin();
  sound(0, 0);
  ASSERT_TRUE(fragmenter->finish(InputEnd::broken));
  EXPECT_EQ(json::get_string(output().events.back(), "event"), "start");
}

TEST_F(FragmenterTest, AnInputWithoutFramesIsAnError) {
  source.all = {aac(48000)};
  begin();
  EXPECT_EQ(fragmenter->finish(InputEnd::whole).error().kind, ErrorKind::not_found);
}

TEST_F(FragmenterTest, AnInputWithoutAKeyFrameIsAnError) {
  source.all = {vp9(90000)};
  begin();
  picture(0, false);
  EXPECT_EQ(fragmenter->finish(InputEnd::whole).error().kind, ErrorKind::damaged);
}

TEST_F(FragmenterTest, EachSecondIsAChunk) {
  source.all = {vp9(90000)};
  begin();
  for (std::int64_t i = 0; i < 90; ++i) picture(i * 3000, i % 30 == 0);
  ASSERT_TRUE(fragmenter->finish(InputEnd::whole));
  EXPECT_EQ(output().segments, 3U);
}

}  // namespace
}  // namespace mc::media
