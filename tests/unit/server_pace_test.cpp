#include <gtest/gtest.h>

#include "server/pace.hpp"

namespace mc::server {
namespace {

using std::chrono::seconds;

class PaceTest : public ::testing::Test {
 protected:
  // Waits for `n` bytes that come after `after`; how long it would have waited.
  Pace::Duration wait(std::uint64_t n, Pace::Duration after) {
    const auto longest = pace_.may_wait(now_);
    now_ += std::min(after, longest);
    if (after <= longest) pace_.moved(n, now_);
    return longest;
  }

  Pace pace_{seconds(30), seconds(60), 16384};
  Pace::Time now_{};
};

TEST_F(PaceTest, NeverLongerThanTheStall) {
  pace_.begin();
  EXPECT_EQ(wait(1, seconds(1)), seconds(30));
}

TEST_F(PaceTest, AByteEveryTenSecondsHasOneWindow) {
  pace_.begin();
  for (int i = 0; i < 5; ++i) EXPECT_GT(wait(1, seconds(10)), seconds(0)) << i;
  EXPECT_EQ(wait(1, seconds(10)), seconds(10));
  EXPECT_EQ(pace_.may_wait(now_), seconds(0));
}

TEST_F(PaceTest, EnoughInEachWindowGoesOnForEver) {
  pace_.begin();
  for (int i = 0; i < 1000; ++i) EXPECT_GT(wait(8192, seconds(25)), seconds(0)) << i;
}

TEST_F(PaceTest, WhoHasMovedEnoughMayBeLateOnce) {
  pace_.begin();
  wait(20'000, seconds(1));
  EXPECT_EQ(wait(1, seconds(29)), seconds(30));
  EXPECT_EQ(wait(1, seconds(29)), seconds(30));
  EXPECT_EQ(wait(1, seconds(29)), seconds(30));  // ends the window; of the next one nothing has come
  EXPECT_EQ(wait(1, seconds(29)), seconds(30));
  EXPECT_EQ(wait(1, seconds(29)), seconds(30));
  EXPECT_LT(pace_.may_wait(now_), seconds(3));
}

TEST_F(PaceTest, WhatWeNeedForTheDiskDoesNotCount) {
  pace_.begin();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(wait(100, std::chrono::milliseconds(1)), seconds(30));
    now_ += seconds(100);
  }
}

}  // namespace
}  // namespace mc::server
