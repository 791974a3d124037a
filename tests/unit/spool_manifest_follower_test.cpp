#include <gtest/gtest.h>

#include <fstream>

#include "spool/manifest_follower.hpp"
#include "unit/scratch_directory.hpp"
#include "unit/watched_file_system.hpp"

namespace mc::spool {
namespace {

class Follower : public testing::Test {
 protected:
  Follower() : fs_(directory_ / "") {}
  void add(const std::string& text) { std::ofstream(directory_ / "manifest", std::ios::app) << text; }
  void write(const std::string& text) { std::ofstream(directory_ / "manifest", std::ios::trunc) << text; }
  std::string chunk(std::uint32_t n) {
    return wire::chunk_lines({{n}, 1000, {(n - 1) * 48000, 48000}, {48000, 48000}, 0, 47, {1}},
                             digest::sha256_hex(as_bytes(std::to_string(n))));
  }
  std::string head() {
    return wire::header_line() +
           wire::recording_line("0123456789abcdef0123456789abcdef", {"studio-a", "001", "alice"}) +
           wire::init_lines({{1}, 10, {{1, "audio", 48000, 1024, "mp4a.40.2"}}}, digest::sha256_hex({}));
  }

  ScratchDirectory directory_;
  WatchedFileSystem fs_;
};

TEST_F(Follower, EachLookReadsOnlyWhatWasAdded) {
  add(head());
  ManifestFollower follower(fs_, directory_ / "");
  ASSERT_TRUE(*follower.look());
  std::string text = head();
  std::uint64_t longest = 0;
  for (std::uint32_t n = 1; n <= 500; ++n) {
    add(chunk(n));
    text += chunk(n);
    const std::uint64_t before = fs_.bytes_read();
    ASSERT_TRUE(*follower.look());
    longest = std::max(longest, fs_.bytes_read() - before);
    EXPECT_EQ(follower.manifest().chunk_count(), n);
    EXPECT_FALSE(*follower.look()) << "nothing happened since";
  }
  EXPECT_LE(longest, chunk(500).size());
  const auto whole = follower.load_whole();
  ASSERT_TRUE(whole);
  EXPECT_EQ(as_text(whole->bytes), text);
}

TEST_F(Follower, ATornLineIsReadAgainWhenItIsWholeAndForgottenWhenItIsCutOff) {
  add(head() + chunk(1).substr(0, 100));
  ManifestFollower follower(fs_, directory_ / "");
  ASSERT_TRUE(*follower.look());
  EXPECT_EQ(follower.manifest().chunk_count(), 0U);
  write(head() + chunk(1));  // as recovery leaves it: another line in its place
  ASSERT_TRUE(*follower.look());
  EXPECT_EQ(follower.manifest().chunk_count(), 1U);
  EXPECT_TRUE(follower.manifest().damage.empty());
}

TEST_F(Follower, WhatBecomesShorterThanWhatWasCommittedIsDamaged) {
  add(head() + chunk(1));
  ManifestFollower follower(fs_, directory_ / "");
  ASSERT_TRUE(*follower.look());
  write(head());
  const auto look = follower.look();
  ASSERT_FALSE(look);
  EXPECT_EQ(look.error().kind, ErrorKind::damaged);
}

TEST_F(Follower, AnotherFileWithTheSameBeginningIsTheSameManifest) {
  add(head() + chunk(1));
  ManifestFollower follower(fs_, directory_ / "");
  ASSERT_TRUE(*follower.look());
  std::filesystem::rename(directory_ / "manifest", directory_ / "before");
  write(head() + chunk(1) + chunk(2));
  ASSERT_TRUE(follower.look());
  EXPECT_EQ(follower.manifest().chunk_count(), 2U);
  std::filesystem::rename(directory_ / "manifest", directory_ / "before");
  write(head() + chunk(1) + chunk(3) + chunk(4));
  const auto look = follower.look();
  ASSERT_FALSE(look);
  EXPECT_EQ(look.error().kind, ErrorKind::damaged);
}

TEST_F(Follower, AChangeInTheMiddleIsFoundAtTheEnd) {
  add(head() + chunk(1));
  ManifestFollower follower(fs_, directory_ / "");
  ASSERT_TRUE(*follower.look());
  std::string text = head() + chunk(1);
  text[head().size() + 12] ^= 1;
  write(text + chunk(2));
  ASSERT_TRUE(*follower.look());
  const auto whole = follower.load_whole();
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().kind, ErrorKind::damaged);
}

TEST_F(Follower, LooksClosedWhenItsLastLineIsTheEnd) {
  EXPECT_FALSE(looks_closed(fs_, directory_ / ""));
  add(head() + chunk(1));
  EXPECT_FALSE(looks_closed(fs_, directory_ / ""));
  const std::string end = wire::end_line(1, digest::sha256_hex({}));
  add(end.substr(0, end.size() - 1));
  EXPECT_FALSE(looks_closed(fs_, directory_ / "")) << "the line is torn";
  add("\n");
  EXPECT_TRUE(looks_closed(fs_, directory_ / ""));
}

}  // namespace
}  // namespace mc::spool
