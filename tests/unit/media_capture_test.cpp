#include <gtest/gtest.h>

#include <thread>

#include "media/capture_options.hpp"
#include "media/packet_queue.hpp"
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

TEST(Timeline, DevicesMayStampByEitherClock) {
  FakeClock clock;
  const Timeline timeline(clock);
  clock.pass(60'000'000'000);
  const std::int64_t captured = timeline.now_ns() - 20'000'000;
  EXPECT_EQ(timeline.from_device_us((clock.monotonic - 20'000'000) / 1000), captured);
  EXPECT_EQ(timeline.from_device_us((clock.wall - 20'000'000) / 1000), captured);
  // After a step the device's wall clock is the stepped one, and the capture time is still right.
  clock.wall += 7200'000'000'000;
  EXPECT_EQ(timeline.from_device_us((clock.wall - 20'000'000) / 1000), captured);
}

TEST(Timeline, AStampThatMeansNothingIsNow) {
  FakeClock clock;
  const Timeline timeline(clock);
  EXPECT_EQ(timeline.from_device_us(0), timeline.now_ns());
  EXPECT_EQ(timeline.from_device_us(-1), timeline.now_ns());
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

}  // namespace
}  // namespace mc::media
