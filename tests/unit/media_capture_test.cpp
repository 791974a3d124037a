#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "base/json.hpp"
#include "media/capture.hpp"
#include "media/capture_options.hpp"
#include "media/packet_queue.hpp"
#include "media/standby_ring.hpp"
#include "media/timeline.hpp"

namespace mc::media {
namespace {

class FakeClock : public Clock {
 public:
  std::int64_t wall = 1'795'341'600'000'000'000;
  std::int64_t monotonic = 5'000'000'000'000;
  std::int64_t wall_ns() const override { return wall; }
  std::int64_t monotonic_ns() const override { return monotonic; }
  std::int64_t suspended = 7'000'000'000;
  std::int64_t suspended_ns() const override { return suspended; }
  void pass(std::int64_t ns) {
    wall += ns;
    monotonic += ns;
  }
};

TEST(Timeline, AStepOfTheWallClockDoesNotReachIt) {
  FakeClock clock;
  const Timeline timeline(clock);
  const std::int64_t before = timeline.now_ns();
  EXPECT_EQ(before, clock.wall);
  clock.pass(1'000'000'000);
  clock.wall -= 3600'000'000'000;
  EXPECT_EQ(timeline.now_ns(), before + 1'000'000'000);
  EXPECT_EQ(timeline.wall_offset_ns(), -3600'000'000'000);
}

TEST(Timeline, ASuspendIsTimeThatPassed) {
  FakeClock clock;
  const Timeline timeline(clock);
  const std::int64_t before = timeline.now_ns();
  clock.pass(1'000'000'000);
  clock.suspended -= 300;  // the two readings were not at the same moment
  EXPECT_EQ(timeline.now_ns(), before + 1'000'000'000);
  clock.suspended += 3600'000'000'300;
  EXPECT_EQ(timeline.now_ns(), before + 3601'000'000'000);
  clock.suspended -= 300;
  EXPECT_EQ(timeline.now_ns(), before + 3601'000'000'000);
}

TEST(Timeline, OnTheSessionClockNeitherWallClockNorSuspendBeforeCounts) {
  FakeClock clock;
  Timeline timeline(clock);
  EXPECT_FALSE(timeline.is_armed());
  clock.pass(1'000'000'000);
  clock.wall += 3600'000'000'000;
  clock.suspended += 60'000'000'000;  // before the offset was measured
  const std::int64_t offset = 1'795'341'605'000'000'000 - clock.monotonic;
  timeline.set_session(offset, 250);
  EXPECT_EQ(timeline.now_ns(), 1'795'341'605'000'000'000);
  EXPECT_EQ(timeline.bound_us(), 250);
  clock.pass(2'000'000'000);
  EXPECT_EQ(timeline.now_ns(), 1'795'341'607'000'000'000);
  timeline.set_t0(1'795'341'606'000'000'000);
  EXPECT_FALSE(timeline.end_ticks(90'000));
  timeline.set_end(1'795'341'608'500'000'000);
  EXPECT_EQ(*timeline.end_ticks(90'000) - timeline.t0_ticks(90'000), 225'000);
}

// On the session clock, with a bound of 20 ms.
struct SessionTimeline {
  static constexpr std::int64_t kStart = 1'795'341'605'000'000'000;
  FakeClock clock;
  Timeline timeline{clock};
  const std::int64_t offset = kStart - clock.monotonic;
  SessionTimeline() { timeline.set_session(offset, 20'000); }
};

TEST(Timeline, FollowsTheSessionClockSlowly) {
  SessionTimeline s;
  std::int64_t passed = 0;
  for (int i = 0; i < 60; ++i) {
    // No jump, and no second is longer than the other by more than half a thousandth and the pace.
    const std::int64_t before = s.timeline.now_ns();
    EXPECT_EQ(s.timeline.follow_session(s.offset + 10'000'000, 500), 0);
    EXPECT_EQ(s.timeline.now_ns(), before);
    s.clock.pass(1'000'000'000);
    EXPECT_NEAR(static_cast<double>(s.timeline.now_ns() - before - 1'000'000'000), 0, 600'000);
    // What was captured a moment ago is where it was.
    EXPECT_NEAR(static_cast<double>(s.timeline.from_monotonic(s.clock.monotonic - 1'000'000)),
                static_cast<double>(s.timeline.now_ns() - 1'000'000), 1'000);
    s.clock.pass(9'000'000'000);
    passed += 10'000'000'000;
  }
  EXPECT_EQ(s.timeline.bound_us(), 500);
  EXPECT_NEAR(static_cast<double>(s.timeline.session_offset_ns() - s.offset), 10'000'000, 50'000);
  EXPECT_NEAR(static_cast<double>(s.timeline.now_ns() - s.kStart - passed), 10'000'000, 50'000);
}

// Clocks 100 millionths apart, and readings anywhere within 15 ms of the truth.
TEST(Timeline, LearnsThePaceAndBelievesNoSingleReading) {
  SessionTimeline s;
  std::int64_t truth = 0, worst = 0;
  for (int i = 0; i < 1'440; ++i) {
    s.clock.pass(10'000'000'000);
    truth += 1'000'000;
    const std::int64_t wrong = (i * 7'919 % 31 - 15) * 1'000'000;
    EXPECT_EQ(s.timeline.follow_session(s.offset + truth + wrong, 20'000), 0);
    if (i > 30) worst = std::max(worst, std::abs(s.timeline.session_offset_ns() - s.offset - truth));
  }
  EXPECT_LT(worst, 6'000'000);
  // An hour without any: by the pace that was learned.
  s.clock.pass(3'600'000'000'000);
  EXPECT_NEAR(static_cast<double>(s.timeline.session_offset_ns() - s.offset - truth), 360'000'000, 60'000'000);
}

TEST(Timeline, FollowsWhatDriftedWhileNobodyWasThere) {
  SessionTimeline s;
  for (int hour = 0; hour < 4; ++hour) s.clock.pass(3'600'000'000'000);
  EXPECT_EQ(s.timeline.follow_session(s.offset + 1'440'000'000, 500), 0);
}

TEST(Timeline, AStepOfTheSessionClockIsLeftOutForGood) {
  SessionTimeline s;
  s.clock.pass(10'000'000'000);
  EXPECT_EQ(s.timeline.follow_session(s.offset + 5'000'000'000, 500), 5'000'000'000);
  EXPECT_EQ(s.timeline.now_ns(), s.kStart + 10'000'000'000);
  EXPECT_EQ(s.timeline.from_session(s.kStart + 20'000'000'000), s.kStart + 15'000'000'000);
  // Drift behind the step is followed as before it.
  s.clock.pass(10'000'000'000);
  EXPECT_EQ(s.timeline.follow_session(s.offset + 5'000'400'000, 500), 0);
  s.clock.pass(10'000'000'000);
  const double after = static_cast<double>(s.kStart + 30'000'000'000);
  EXPECT_NEAR(static_cast<double>(s.timeline.now_ns()), after, 100'000);
  EXPECT_EQ(s.timeline.follow_session(s.offset, 500), -5'000'000'000 - 400'000);
  s.clock.pass(10'000'000'000);
  EXPECT_NEAR(static_cast<double>(s.timeline.now_ns()), after + 10'000'000'000, 200'000);
}

TEST(Timeline, ASuspendIsNoStepOfTheSessionClock) {
  SessionTimeline s;
  s.clock.pass(10'000'000'000);
  s.clock.suspended += 3600'000'000'000;  // the offset to a clock that stood is more by as much
  EXPECT_EQ(s.timeline.follow_session(s.offset + 3600'000'000'000, 500), 0);
  EXPECT_EQ(s.timeline.now_ns(), s.kStart + 3610'000'000'000);
}

std::int64_t at(const Timeline& timeline, std::int64_t device_us) {
  return timeline.from_monotonic(timeline.monotonic_of_device_us(device_us));
}

TEST(Timeline, DevicesMayStampByEitherClock) {
  FakeClock clock;
  const Timeline timeline(clock);
  clock.pass(60'000'000'000);
  const std::int64_t captured = timeline.now_ns() - 20'000'000;
  EXPECT_EQ(at(timeline, (clock.monotonic - 20'000'000) / 1000), captured);
  EXPECT_EQ(at(timeline, (clock.wall - 20'000'000) / 1000), captured);
  // After a step the device's wall clock is the stepped one, and the capture time is still right.
  clock.wall += 7200'000'000'000;
  EXPECT_EQ(at(timeline, (clock.wall - 20'000'000) / 1000), captured);
}

TEST(Timeline, AStampThatMeansNothingIsNow) {
  FakeClock clock;
  const Timeline timeline(clock);
  EXPECT_EQ(at(timeline, 0), timeline.now_ns());
  EXPECT_EQ(at(timeline, -1), timeline.now_ns());
}

TEST(DeviceSpec, NamesAreSplitAtTheFirstColon) {
  const auto x11 = parse_device("x11::0.0+100,200", StreamKind::picture);
  ASSERT_TRUE(x11);
  EXPECT_EQ(x11->backend, Backend::x11);
  EXPECT_EQ(x11->address, ":0.0+100,200");
  EXPECT_TRUE(x11->is_live());
  const auto graph = parse_device("lavfi:sine=frequency=440:sample_rate=48000", StreamKind::sound);
  ASSERT_TRUE(graph);
  EXPECT_EQ(graph->address, "sine=frequency=440:sample_rate=48000");
  EXPECT_FALSE(graph->is_live());
}

TEST(DeviceSpec, WhatCannotBeIsAUsageError) {
  for (const char* text : {"", "v4l2", "v4l2:", "camera:0", "alsa:default", "/dev/video0"}) {
    const auto device = parse_device(text, StreamKind::picture);
    ASSERT_FALSE(device) << text;
    EXPECT_EQ(device.error().kind, ErrorKind::usage);
  }
  EXPECT_FALSE(parse_device("x11::0", StreamKind::sound));
}

QueuedPacket packet(std::int64_t pts, bool key, std::size_t bytes = 10) {
  return {0, pts, key, true, ByteBuffer(bytes)};
}

TEST(PacketQueue, WhatDoesNotFitIsDroppedUpToTheNextKeyFrame) {
  PacketQueue queue(25, 1);
  for (std::int64_t pts = 0; pts < 4; ++pts) {
    auto p = packet(pts, pts == 0);
    EXPECT_FALSE(queue.push(p));
  }
  EXPECT_EQ(queue.dropped(), 2U);
  EXPECT_EQ(queue.pop()->pts, 0);
  auto leaning = packet(4, false);
  EXPECT_FALSE(queue.push(leaning)) << "there is room, but nothing to lean on";
  EXPECT_EQ(queue.dropped(), 3U);
  auto key = packet(5, true);
  const auto loss = queue.push(key);
  ASSERT_TRUE(loss) << "the loss is told first";
  EXPECT_EQ(loss->packets, 3U);
  EXPECT_EQ(loss->from, 2);
  EXPECT_FALSE(queue.push(key));
  EXPECT_EQ(queue.pop()->pts, 1);
  EXPECT_EQ(queue.pop()->pts, 5);
}

TEST(PacketQueue, WhatWasDroppedLastIsToldOnce) {
  PacketQueue queue(15, 2);
  for (std::int64_t pts = 0; pts < 3; ++pts) {
    auto p = packet(pts, pts == 0);
    EXPECT_FALSE(queue.push(p));
  }
  EXPECT_EQ(queue.take_loss(1).packets, 0U);
  const auto loss = queue.take_loss(0);
  EXPECT_EQ(loss.packets, 2U);
  EXPECT_EQ(loss.from, 1);
  EXPECT_EQ(loss.last, 2);
  EXPECT_EQ(queue.take_loss(0).packets, 0U);
}

TEST(PacketQueue, EventsGoPastTheLimit) {
  PacketQueue queue(1, 1);
  queue.push_always(packet(1, true));
  EXPECT_EQ(queue.pop()->pts, 1);
}

TEST(PacketQueue, ClosedItGivesWhatIsLeftAndThenNothing) {
  PacketQueue queue(100, 1);
  queue.push_always(packet(1, true));
  queue.close();
  EXPECT_TRUE(queue.pop());
  EXPECT_FALSE(queue.pop());
}

TEST(PacketQueue, ASourceThatCanWaitIsLetGoWhenThereIsRoom) {
  PacketQueue queue(20, 1);
  queue.push_always(packet(1, true));
  queue.push_always(packet(2, true));
  std::thread source([&queue] {
    queue.wait_for_room();
    queue.push_always(packet(3, true));
    queue.close();
  });
  int count = 0;
  while (queue.pop()) ++count;
  source.join();
  EXPECT_EQ(count, 3);
}

TEST(PacketQueue, WhatStandbyKeptIsInTheOrderOfItsTimes) {
  const auto at_time = [](std::uint32_t stream, std::int64_t at_ns) {
    return QueuedPacket{stream, at_ns, true, false, ByteBuffer(1), at_ns};
  };
  PacketQueue queue(1000, 3);
  queue.push_always(at_time(2, 900));  // the event of the start
  queue.hold(2);
  std::string order;
  std::thread reader([&] {
    while (const auto packet = queue.pop())
      order += std::to_string(packet->stream) + ":" + std::to_string(packet->pts) + " ";
  });
  for (const std::int64_t ns : {100, 200, 300}) queue.push_always(at_time(0, ns));
  queue.backlog_is_in();
  queue.push_always(at_time(0, 400));
  queue.push_always(at_time(1, 50));
  queue.push_always(at_time(2, 200));  // told in front of the packet of its time
  queue.push_always(at_time(1, 200));
  queue.push_always(at_time(1, 350));
  queue.backlog_is_in();
  queue.close();
  reader.join();
  EXPECT_EQ(order, "2:900 1:50 0:100 0:200 2:200 1:200 0:300 1:350 0:400 ");
}

TEST(PacketQueue, ABacklogThatDoesNotComeHoldsNobodyBackForLong) {
  PacketQueue queue(1000, 2);
  queue.hold(2);
  queue.push_always(packet(1, true));
  queue.backlog_is_in();
  EXPECT_EQ(queue.pop()->pts, 1);
}

std::string kept_by(StandbyRing<int> ring) {
  std::string items;
  while (!ring.empty()) items += std::to_string(ring.pop()) + " ";
  return items;
}

TEST(StandbyRing, KeepsItsSpanAndNoMoreThanItsBytes) {
  StandbyRing<int> ring;
  ring.set_bounds(100, 1000);
  for (int i = 0; i < 10; ++i) ring.push(i * 25, 10, i);
  EXPECT_EQ(kept_by(ring), "5 6 7 8 9 ") << "the oldest is 100 ticks behind the newest";
  ring.push(230, 965, 10);
  EXPECT_EQ(kept_by(ring), "7 8 9 10 ");
  ring.push(231, 2000, 11);
  EXPECT_EQ(kept_by(ring), "") << "what alone is too large is not kept";
  ring.push(1000, 1, 12);
  ring.clear();
  ring.push(1001, 1000, 13);
  EXPECT_EQ(kept_by(ring), "13 ");
}

TEST(StandbyRing, WithoutASpanItKeepsNothing) {
  StandbyRing<int> ring;
  ring.push(0, 1, 1);
  ring.set_bounds(0, 1000);
  ring.push(0, 1, 2);
  EXPECT_TRUE(ring.empty());
}

// One second is one group of pictures: what is dropped in it has no successor that could tell it.
TEST(Capture, WhatIsDroppedAtTheEndIsToldInFrontOfTheEnd) {
  std::promise<void> dropped;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  ASSERT_GT(::fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
  std::string stream;
  std::thread reader([&] {
    dropped.get_future().wait();
    std::array<char, 4096> bytes{};
    for (ssize_t n = 0; (n = ::read(ends[0], bytes.data(), bytes.size())) > 0;)
      stream.append(bytes.data(), static_cast<std::size_t>(n));
    ::close(ends[0]);
  });
  CaptureOptions options;
  options.video = *parse_device("lavfi:testsrc2=size=320x180:rate=30", StreamKind::picture);
  options.queue_bytes = 30'000;
  options.duration_ns = 1'000'000'000;
  auto capture = Capture::open(options);
  ASSERT_TRUE(capture) << capture.error().message;
  bool told = false;
  CaptureHooks hooks;
  hooks.progress = [&](const CaptureProgress& now) {
    if (now.dropped_packets > 0 && !std::exchange(told, true)) dropped.set_value();
  };
  const auto end = (*capture)->run(ends[1], hooks);
  if (!std::exchange(told, true)) dropped.set_value();
  ::close(ends[1]);
  reader.join();
  ASSERT_TRUE(end) << end.error().message;
  ASSERT_GT(end->dropped_packets, 0U);
  const auto gap = stream.find("queue-overflow"), last = stream.find(R"({"event":"end"})");
  ASSERT_NE(gap, std::string::npos);
  ASSERT_NE(last, std::string::npos);
  EXPECT_LT(gap, last);
  // Up to where the last of 30 pictures ends.
  const auto object = stream.substr(stream.rfind('{', gap), stream.find('}', gap) + 1 - stream.rfind('{', gap));
  const auto event = json::parse_object(object);
  ASSERT_TRUE(event) << object;
  EXPECT_EQ(json::get_int(*event, "to"), 90'000) << object;
  EXPECT_EQ(json::get_int(*event, "packets"), static_cast<std::int64_t>(end->dropped_packets)) << object;
}

}  // namespace
}  // namespace mc::media
