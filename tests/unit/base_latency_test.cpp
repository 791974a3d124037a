#include <gtest/gtest.h>

#include "base/latency.hpp"

namespace mc {
namespace {

TEST(LatencyHistogram, PercentilesAreRightToASixteenth) {
  LatencyHistogram h;
  EXPECT_EQ(h.percentile_us(99), 0U);
  for (std::int64_t us = 1; us <= 100'000; ++us) h.add(us * 1000);
  EXPECT_EQ(h.count(), 100'000U);
  EXPECT_EQ(h.max_us(), 100'000U);
  for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9}) {
    const double exact = 1000 * percent;
    EXPECT_GE(static_cast<double>(h.percentile_us(percent)), exact) << percent;
    EXPECT_LE(static_cast<double>(h.percentile_us(percent)), exact * 17 / 16 + 1) << percent;
  }
  EXPECT_EQ(h.percentile_us(100), 100'000U);
}

TEST(LatencyHistogram, ExtremesDoNotLeaveTheTable) {
  LatencyHistogram h;
  h.add(-5);
  h.add(INT64_MAX);
  EXPECT_EQ(h.percentile_us(0), 0U);
  EXPECT_EQ(h.max_us(), static_cast<std::uint64_t>(INT64_MAX) / 1000);
}

TEST(LatencyHistogram, OneValueIsEveryPercentile) {
  LatencyHistogram h;
  h.add(5'000'000);
  EXPECT_EQ(h.percentile_us(1), 5000U);
  EXPECT_EQ(h.percentile_us(99), 5000U);
}

}  // namespace
}  // namespace mc
