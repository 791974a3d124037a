#include <gtest/gtest.h>

#include "media/decode_times.hpp"

namespace mc::media {
namespace {

std::vector<std::int64_t> decode_times(std::uint32_t delay, std::int64_t interval,
                                       const std::vector<std::int64_t>& pts) {
  DecodeTimes times(delay, interval);
  std::vector<std::int64_t> out;
  for (const std::int64_t t : pts) out.push_back(times.next(t));
  return out;
}

TEST(DecodeTimes, WithoutReorderingTheyAreThePresentationTimes) {
  EXPECT_EQ(decode_times(0, 10, {5, 15, 24, 90, 91}), (std::vector<std::int64_t>{5, 15, 24, 90, 91}));
}

TEST(DecodeTimes, WithBFramesTheyArePresentationTimesInOrderLaterByTheDelay) {
  EXPECT_EQ(decode_times(2, 10, {0, 40, 20, 10, 30, 80, 60, 50, 70}),
            (std::vector<std::int64_t>{-20, -10, 0, 10, 20, 30, 40, 50, 60}));
}

TEST(DecodeTimes, AHoleStaysAHole) {
  EXPECT_EQ(decode_times(1, 10, {0, 20, 10, 270, 260, 290, 280}),
            (std::vector<std::int64_t>{-10, 0, 10, 20, 260, 270, 280}));
}

TEST(DecodeTimes, AnUndeclaredDelayIsFoundOut) {
  const std::vector<std::int64_t> pts{0, 40, 20, 10, 30, 80, 60, 50, 70, 120, 100, 90, 110};
  const auto times = decode_times(0, 10, pts);
  for (std::size_t i = 1; i < times.size(); ++i) EXPECT_GT(times[i], times[i - 1]);
  for (std::size_t i = 5; i < times.size(); ++i) EXPECT_LE(times[i], pts[i]);
}

TEST(DecodeTimes, RepeatedTimesStillRise) {
  EXPECT_EQ(decode_times(0, 10, {5, 5, 5}), (std::vector<std::int64_t>{5, 6, 7}));
}

}  // namespace
}  // namespace mc::media
