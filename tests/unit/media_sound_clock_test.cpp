#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "media/sound_clock.hpp"

namespace mc::media {
namespace {

constexpr std::uint32_t kRate = 48000;
constexpr std::int64_t kBlock = 960;
constexpr std::int64_t kEpoch = 86'178'633'816'472;

// A device whose crystal is off by `ppm`, measured with some milliseconds of jitter, for `seconds`.
struct Drift {
  std::int64_t worst_error = 0;   // ticks between what at() says and when it really was
  std::int64_t largest_step = 0;  // of a block's duration against nominal
  bool rises = true;
  double ppm = 0;

  Drift(double true_ppm, std::int64_t seconds) {
    SoundClock clock(ClockKind::device, kRate);
    std::int64_t last = -1;
    unsigned noise = 1;
    for (std::int64_t n = 0; n < seconds * kRate; n += kBlock) {
      const auto really =
          kEpoch + static_cast<std::int64_t>(std::llround(static_cast<double>(n) * (1 - true_ppm * 1e-6)));
      noise = noise * 1103515245 + 12345;
      const std::int64_t jitter = static_cast<std::int64_t>(noise >> 16 & 0xFF) - 128;  // 2.7 ms
      clock.measure(n, really + jitter);
      const std::int64_t said = clock.at(n);
      if (n > 60 * kRate) worst_error = std::max<std::int64_t>(worst_error, std::llabs(said - really));
      if (last >= 0) largest_step = std::max<std::int64_t>(largest_step, std::llabs(said - last - kBlock));
      rises = rises && said > last;
      last = said;
    }
    ppm = static_cast<double>(clock.drift_ppb().value_or(0)) / 1000;
  }
};

TEST(SoundClock, TheSamplesOfAFileAreTheClock) {
  SoundClock clock(ClockKind::samples, kRate);
  for (std::int64_t n = 0; n < 100 * kBlock; n += kBlock) {
    // Time stamps of a file in milliseconds are rounded; the count is not.
    EXPECT_EQ(clock.measure(n, kEpoch + n + (n / kBlock % 3) * 20), 0);
    EXPECT_EQ(clock.at(n), kEpoch + n);
  }
}

TEST(SoundClock, ADayOfDriftStaysWithinMilliseconds) {
  for (const double ppm : {100.0, -100.0}) {
    const Drift day(ppm, 24 * 3600);
    EXPECT_LT(day.worst_error, kRate / 200) << ppm;  // 5 ms; unsteered it would be 8.6 s
    EXPECT_LE(day.largest_step, 1) << ppm;
    EXPECT_TRUE(day.rises);
    EXPECT_NEAR(day.ppm, ppm, 2) << ppm;
  }
}

TEST(SoundClock, AHoleOfADeviceMovesWhatFollowsAndNothingBefore) {
  SoundClock clock(ClockKind::device, kRate);
  std::int64_t missing = 0, found_at = 0;
  for (std::int64_t n = 0; n < 200 * kBlock; n += kBlock) {
    const std::int64_t m = clock.measure(n, kEpoch + n + (n >= 100 * kBlock ? kRate : 0));
    if (m > 0) found_at = n;
    missing += m;
    if (n < 100 * kBlock) {
      ASSERT_EQ(clock.at(n), kEpoch + n);
    }
  }
  EXPECT_NEAR(static_cast<double>(missing), kRate, 100);
  EXPECT_GE(found_at, 100 * kBlock);
  EXPECT_LE(found_at, 100 * kBlock + kRate / 2 + kBlock);
  EXPECT_EQ(clock.at(199 * kBlock), kEpoch + 199 * kBlock + kRate);
}

TEST(SoundClock, ABlockThatComesLateIsNoHole) {
  SoundClock clock(ClockKind::device, kRate);
  for (std::int64_t n = 0; n < 500 * kBlock; n += kBlock) {
    // Every third second the samples of 200 ms come all at once.
    const std::int64_t in_cycle = n % (3 * kRate);
    const std::int64_t late = in_cycle < kRate / 5 ? kRate / 5 - in_cycle : 0;
    ASSERT_EQ(clock.measure(n, kEpoch + n + (n < kRate ? 0 : late)), 0);
    ASSERT_LE(std::llabs(clock.at(n) - kEpoch - n), 100);
  }
}

TEST(SoundClock, AFirstBlockThatCameLateIsMended) {
  SoundClock clock(ClockKind::device, kRate);
  clock.measure(0, kEpoch + kRate / 10);
  for (std::int64_t n = kBlock; n < 60 * kRate; n += kBlock) EXPECT_EQ(clock.measure(n, kEpoch + n), 0);
  EXPECT_LT(clock.at(60 * kRate) - kEpoch - 60 * kRate, kRate / 1000);
}

TEST(SoundClock, ADeviceThatGivesMoreSamplesThanTimeDoesNotRunAhead) {
  SoundClock clock(ClockKind::device, kRate);
  std::int64_t last = -1;
  for (std::int64_t n = 0; n < 60 * kRate; n += kBlock) {
    clock.measure(n, kEpoch + n * 2 / 3);
    const std::int64_t said = clock.at(n);
    ASSERT_GT(said, last);
    ASSERT_LT(said - kEpoch - n * 2 / 3, kRate / 4);
    last = said;
  }
}

TEST(SoundClock, AHoleOfAFileIsWhereItIs) {
  SoundClock clock(ClockKind::samples, kRate);
  clock.measure(0, kEpoch);
  clock.measure(kBlock, kEpoch + kBlock);
  EXPECT_EQ(clock.measure(2 * kBlock, kEpoch + 2 * kBlock + kRate), static_cast<std::int64_t>(kRate));
  EXPECT_EQ(clock.at(-1024), kEpoch - 1024);
  EXPECT_EQ(clock.at(kBlock), kEpoch + kBlock);
  EXPECT_EQ(clock.at(2 * kBlock), kEpoch + 2 * kBlock + kRate);
}

TEST(SoundClock, ATimeThatStepsBackIsNotFollowed) {
  SoundClock clock(ClockKind::device, kRate);
  clock.measure(0, kEpoch);
  std::int64_t last = clock.at(0);
  for (std::int64_t n = kBlock; n < 100 * kBlock; n += kBlock) {
    clock.measure(n, kEpoch + n - 10 * kRate);
    EXPECT_GT(clock.at(n), last);
    last = clock.at(n);
  }
}

}  // namespace
}  // namespace mc::media
