#include <gtest/gtest.h>

#include <random>

#include "mp4/cut_rule.hpp"
#include "mp4_material.hpp"

namespace mc::mp4 {
namespace {

using namespace material;

struct Frame {
  std::uint64_t time;
  bool key;
};

// Which frames begin chunks.
std::vector<std::uint64_t> cuts(const Movie& movie, const std::vector<Frame>& frames, std::uint32_t size = 1000) {
  CutRule rule(movie);
  std::vector<std::uint64_t> at;
  for (const Frame& frame : frames) {
    Sample s = sample(movie.tracks[0].id, frame.time, 1, size);
    s.sync = frame.key;
    if (rule.starts_chunk(s)) at.push_back(frame.time);
  }
  return at;
}

TEST(CutRule, TwentyNinePointNineSevenIsCutAtEachKeyFrame) {
  std::vector<Frame> frames;
  std::vector<std::uint64_t> keys;
  for (std::uint64_t i = 0; i < 30 * 3600; ++i) {
    frames.push_back({i * 1001, i % 30 == 0});
    if (i % 30 == 0) keys.push_back(i * 1001);
  }
  EXPECT_EQ(cuts({{picture_track(1, 30000, 1001)}}, frames), keys);
}

// Every place of the key frames in the second: also where the jitter straddles the edge of the tolerance.
TEST(CutRule, JitteredKeyFramesEachSecondGiveChunksOfASecond) {
  std::minstd_rand random(7);
  for (std::uint64_t phase_ms = 0; phase_ms < 1000; phase_ms += 7) {
    std::vector<Frame> frames;
    for (std::uint64_t i = 0; i < 30 * 60; ++i) {
      const std::uint64_t jitter = random() % 361;  // up to 4 ms, i.e. +-2 ms
      frames.push_back({180 + phase_ms * 90 + i * 3000 + jitter - 180, i % 30 == 0});
    }
    const auto at = cuts({{picture_track(1)}}, frames);
    // The first chunk ends at the first key frame of the next second, wherever it began.
    ASSERT_GE(at.size(), 60U) << phase_ms;
  }
}

TEST(CutRule, AFrameShortlyBeforeTheSecondCountsAsOnItAKeyFrameOfTheMiddleDoesNot) {
  const Movie movie{{picture_track(1)}};
  EXPECT_EQ(cuts(movie, {{0, true}, {45000, true}, {88600, true}}), (std::vector<std::uint64_t>{0, 88600}));
  EXPECT_EQ(cuts(movie, {{0, true}, {45000, true}, {88400, true}, {91000, true}}),
            (std::vector<std::uint64_t>{0, 91000}));
  EXPECT_EQ(cuts(movie, {{63000, true}, {90000, false}, {93000, true}}), (std::vector<std::uint64_t>{63000, 93000}))
      << "the whole second counts, not a second since the start";
}

TEST(CutRule, AllKeyFramesAreCutOnceASecond) {
  std::vector<Frame> frames;
  for (std::uint64_t i = 0; i < 600; ++i) frames.push_back({i * 1001, true});
  const auto at = cuts({{picture_track(1, 30000, 1001)}}, frames);
  ASSERT_EQ(at.size(), 21U);
  for (std::size_t second = 0; second < at.size(); ++second) {
    EXPECT_NEAR(static_cast<double>(at[second]), static_cast<double>(second) * 30000, 501) << second;
  }
}

TEST(CutRule, AKeyFrameEveryTenSecondsIsWaitedFor) {
  std::vector<Frame> frames;
  for (std::uint64_t i = 0; i < 25 * 60; ++i) frames.push_back({i * 3600, i % 260 == 0});
  const auto at = cuts({{picture_track(1, 90000, 3600)}}, frames);
  EXPECT_EQ(at, (std::vector<std::uint64_t>{0, 936000, 1872000, 2808000, 3744000, 4680000}));
}

TEST(CutRule, WithoutKeyFramesAChunkEndsAfterTwentySeconds) {
  std::vector<Frame> frames;
  for (std::uint64_t i = 0; i < 30 * 50; ++i) frames.push_back({i * 3000, i == 0});
  EXPECT_EQ(cuts({{picture_track(1)}}, frames), (std::vector<std::uint64_t>{0, 1800000, 3600000}));
}

TEST(CutRule, ManyBytesEndAChunkAtTheNextKeyFrameOrAtTwiceAsMany) {
  const Movie movie{{picture_track(1)}};
  EXPECT_EQ(cuts(movie, {{0, true}, {3000, false}, {6000, true}, {9000, true}}, 8U << 20),
            (std::vector<std::uint64_t>{0, 6000}));
  EXPECT_EQ(cuts(movie, {{0, true}, {1, false}, {2, false}, {3, false}, {4, false}}, 8U << 20),
            (std::vector<std::uint64_t>{0, 4}));
}

TEST(CutRule, SoundAloneIsCutAtWholeSeconds) {
  std::vector<Frame> frames;
  for (std::uint64_t i = 0; i < 500; ++i) frames.push_back({5000 + i * 1024, true});
  const auto at = cuts({{sound_track(1)}}, frames);
  ASSERT_EQ(at.size(), 11U);
  for (std::size_t second = 1; second < at.size(); ++second) {
    EXPECT_GE(at[second], second * 48000);
    EXPECT_LT(at[second], second * 48000 + 1024);
  }
}

TEST(CutRule, SoundNeverCutsWhereThereIsAPicture) {
  const Movie movie{{picture_track(1), sound_track(2)}};
  CutRule rule(movie);
  EXPECT_TRUE(rule.starts_chunk(sample(2, 0, 960, 10)));
  EXPECT_FALSE(rule.starts_chunk(sample(1, 0, 3000, 10)));
  EXPECT_FALSE(rule.starts_chunk(sample(2, 48000, 960, 10)));
  EXPECT_FALSE(rule.starts_chunk(sample(2, 96000, 960, 10)));
  EXPECT_TRUE(rule.starts_chunk(sample(1, 90000, 3000, 10)));
  EXPECT_FALSE(rule.starts_chunk(sample(2, 47000, 960, 10))) << "late sound belongs to the chunk that is open";
  EXPECT_FALSE(rule.starts_chunk(sample(2, 48000 * 20, 960, 10)));
  EXPECT_TRUE(rule.starts_chunk(sample(2, 48000 * 21, 960, 10))) << "the picture stays away";
}

TEST(CutRule, TimeThatStepsBackBeginsASecondOfItsOwn) {
  EXPECT_EQ(cuts({{picture_track(1)}}, {{900000, true}, {903000, true}, {450000, true}, {453000, true}}),
            (std::vector<std::uint64_t>{900000, 450000}));
}

TEST(CutRule, ImmenseTimesDoNotOverflow) {
  std::vector<Frame> frames;
  for (std::uint64_t i = 0; i < 90; ++i) frames.push_back({(1ULL << 61) + i * 3000, i % 30 == 0});
  EXPECT_GE(cuts({{picture_track(1)}}, frames).size(), 3U);
}

}  // namespace
}  // namespace mc::mp4
