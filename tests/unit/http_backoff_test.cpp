#include <gtest/gtest.h>

#include "http/backoff.hpp"

namespace mc::http {
namespace {

TEST(Backoff, DoublesUpToTheCap) {
  Backoff backoff({.base_ms = 100, .cap_ms = 1000, .floor_ms = 1}, [] { return 0.999999; });
  std::vector<std::uint32_t> waits;
  for (int i = 0; i < 6; ++i) waits.push_back(backoff.next_ms());
  EXPECT_EQ(waits, (std::vector<std::uint32_t>{99, 199, 399, 799, 999, 999}));
}

TEST(Backoff, JitterIsDrawnFromTheWholeRange) {
  Backoff low({.base_ms = 100, .cap_ms = 1000, .floor_ms = 5}, [] { return 0.0; });
  EXPECT_EQ(low.next_ms(), 5U);
  EXPECT_EQ(low.next_ms(), 5U);
  auto fraction = random_fraction();
  for (int i = 0; i < 1000; ++i) {
    const double f = fraction();
    ASSERT_GE(f, 0.0);
    ASSERT_LT(f, 1.0);
  }
}

TEST(Backoff, ASuccessStartsItAnew) {
  Backoff backoff({.base_ms = 100, .cap_ms = 1000, .floor_ms = 1}, [] { return 0.5; });
  EXPECT_EQ(backoff.next_ms(), 50U);
  EXPECT_EQ(backoff.next_ms(), 100U);
  backoff.reset();
  EXPECT_EQ(backoff.next_ms(), 50U);
}

TEST(Backoff, NeverEndsAndNeverOverflows) {
  Backoff backoff({.base_ms = 250, .cap_ms = 15'000, .floor_ms = 20}, [] { return 0.999; });
  for (int i = 0; i < 100'000; ++i) {
    const auto wait = backoff.next_ms();
    ASSERT_GE(wait, 20U);
    ASSERT_LE(wait, 15'000U);
  }
}

TEST(Backoff, WhatTheServerAskedForIsTheLeastUpToTheCap) {
  Backoff backoff({.base_ms = 100, .cap_ms = 1000, .floor_ms = 1}, [] { return 0.0; });
  EXPECT_EQ(backoff.next_ms(700), 700U);
  EXPECT_EQ(backoff.next_ms(3'600'000), 1000U);
}

}  // namespace
}  // namespace mc::http
