// The four time stamps: the truth lies within the bound, whatever the way and the clocks are like.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "control/session_clock.hpp"

namespace mc::control {
namespace {

constexpr std::int64_t kHourUs = 3'600'000'000;

// A server's clock and a rig's, on a time that neither of them knows.
class TwoClocks {
 public:
  TwoClocks(std::int64_t offset_us, double ppm) : offset_us_(offset_us), rate_(1 + ppm / 1e6) {}
  std::int64_t rig(std::int64_t true_us) const { return std::llround(static_cast<double>(true_us) * rate_); }
  std::int64_t session(std::int64_t true_us) const { return true_us + offset_us_; }
  void step(std::int64_t us) { offset_us_ += us; }
  // An exchange that begins at `true_us`.
  ClockSample exchange(std::int64_t true_us, std::int64_t up_us, std::int64_t there_us, std::int64_t down_us) const {
    return {rig(true_us), session(true_us + up_us), session(true_us + up_us + there_us),
            rig(true_us + up_us + there_us + down_us)};
  }
  std::int64_t error(const SessionClock& clock, std::int64_t true_us) const {
    return std::abs(rig(true_us) + clock.at(rig(true_us))->offset_us - session(true_us));
  }
  std::int64_t bound(const SessionClock& clock, std::int64_t true_us) const { return clock.at(rig(true_us))->bound_us; }

 private:
  std::int64_t offset_us_;
  double rate_;
};

TEST(SessionClock, KnowsNothingBeforeTheFirstSample) {
  const SessionClock clock;
  EXPECT_FALSE(clock.at(0));
  EXPECT_FALSE(clock.worst_round_trip_us());
}

TEST(SessionClock, ASymmetricWayIsExactAndTheBoundIsHalfOfIt) {
  const TwoClocks clocks(1'795'000'000'000'000, 0);
  SessionClock clock;
  EXPECT_EQ(clock.add(clocks.exchange(1000, 20'000, 300, 20'000)), SessionClock::Added::taken);
  EXPECT_EQ(clocks.error(clock, 41'300), 0);
  EXPECT_LE(clocks.bound(clock, 41'300), 20'000 + 2);
  EXPECT_GE(clocks.bound(clock, 41'300), 20'000);
  EXPECT_EQ(clock.worst_round_trip_us(), 40'000);
}

TEST(SessionClock, SaysOfWhenItIs) {
  const TwoClocks clocks(1'795'000'000'000'000, 0);
  SessionClock clock;
  clock.add(clocks.exchange(1'000, 5'000, 0, 5'000));
  const std::int64_t first_us = clock.at(20'000)->sampled_us;
  EXPECT_EQ(clock.at(9'000'000)->sampled_us, first_us);
  clock.add(clocks.exchange(1'000'000, 20'000, 0, 20'000));  // worse, and stays so for 150 s
  EXPECT_EQ(clock.at(2'000'000)->sampled_us, first_us);
  clock.add(clocks.exchange(3'000'000, 5'000, 0, 5'000));
  EXPECT_EQ(clock.at(3'020'000)->sampled_us, first_us + 2'999'000);
}

TEST(SessionClock, TheTruthLiesWithinTheBoundForHoursWhateverTheWayIsLike) {
  std::mt19937_64 random(7);
  for (const double ppm : {-100.0, -20.0, 0.0, 50.0, 100.0}) {
    const TwoClocks clocks(5'000'000, ppm);
    SessionClock clock;
    std::int64_t now_us = 1'000'000;
    std::int64_t best_us = INT64_MAX;
    while (now_us < 4 * kHourUs) {
      // Mostly short, sometimes held up, on one way only.
      const std::int64_t up_us = random() % 10 == 0 ? static_cast<std::int64_t>(random() % 2'000'000) : 5'000;
      const std::int64_t down_us = random() % 5 == 0 ? static_cast<std::int64_t>(random() % 500'000) : 35'000;
      EXPECT_EQ(clock.add(clocks.exchange(now_us, up_us, 100, down_us)), SessionClock::Added::taken) << now_us;
      now_us += up_us + down_us + 100;
      for (const std::int64_t later_us : {std::int64_t{0}, std::int64_t{1'000'000}, std::int64_t{60'000'000}}) {
        ASSERT_LE(clocks.error(clock, now_us + later_us), clocks.bound(clock, now_us + later_us))
            << now_us << " " << ppm;
      }
      best_us = std::min(best_us, clocks.bound(clock, now_us));
      // A whole minute without an answer now and then.
      now_us += random() % 50 == 0 ? 60'000'000 : 2'000'000;
    }
    EXPECT_LE(best_us, 20'100) << "a way of 40 ms";
    EXPECT_LE(clocks.bound(clock, now_us), 33'000) << "below a picture";
  }
}

TEST(SessionClock, OfTwoSamplesTheOneCountsWhoseBoundIsLessNow) {
  const TwoClocks clocks(0, 0);
  SessionClock clock;
  clock.add(clocks.exchange(0, 500, 0, 500));
  clock.add(clocks.exchange(1'000'000, 10'000, 0, 0));
  EXPECT_LE(clocks.bound(clock, 2'000'000), 800) << "the first one";
  // In a hundred seconds it is 10 ms worse, in a thousand both are worse alike but for half of their ways.
  EXPECT_LE(clocks.bound(clock, 100'000'000), 10'600);
  clock.add(clocks.exchange(100'000'000, 2'000, 0, 2'000));
  EXPECT_LE(clocks.bound(clock, 100'010'000), 2'010) << "the newest";
}

TEST(SessionClock, AServerWhoseClockIsSteppedIsFollowed) {
  TwoClocks clocks(0, 0);
  SessionClock clock;
  for (int i = 0; i < 10; ++i) clock.add(clocks.exchange(i * 1'000'000, 1'000, 0, 1'000));
  clocks.step(3'000'000);
  EXPECT_EQ(clock.add(clocks.exchange(20'000'000, 1'000, 0, 1'000)), SessionClock::Added::stepped);
  EXPECT_LE(clocks.error(clock, 20'010'000), clocks.bound(clock, 20'010'000));
  EXPECT_EQ(clock.add(clocks.exchange(21'000'000, 1'000, 0, 1'000)), SessionClock::Added::taken);
}

TEST(SessionClock, WhatNoExchangeCanHaveHadIsLeftOut) {
  SessionClock clock;
  EXPECT_EQ(clock.add({100, 50, 40, 200}), SessionClock::Added::nonsense) << "answered before it was asked";
  EXPECT_EQ(clock.add({100, 50, 60, 90}), SessionClock::Added::nonsense) << "here before it left";
  EXPECT_EQ(clock.add({100, 0, 5'000, 200}), SessionClock::Added::nonsense) << "longer there than here";
  EXPECT_EQ(clock.add({INT64_MIN, 0, 0, INT64_MAX}), SessionClock::Added::nonsense);
  EXPECT_EQ(clock.add({0, INT64_MAX, INT64_MAX, 1}), SessionClock::Added::nonsense);
  EXPECT_FALSE(clock.at(0));
}

}  // namespace
}  // namespace mc::control
