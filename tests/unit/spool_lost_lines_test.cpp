// Manifests that have lost whole lines, or are lost: everything that stands on the disk whole is in the recording
// again.
#include <gtest/gtest.h>

#include <fstream>

#include "recorder_fixture.hpp"

namespace mc::spool {
namespace {

class LostLinesTest : public RecorderTest {
 protected:
  void SetUp() override {
    RecorderTest::SetUp();
    options_.publishing = Publisher::Mode::immediate;
  }
  // Seven chunks, and an eighth of half a second in its journal; the writer is killed. Two inits when asked for.
  void record_and_kill(bool two_inits) {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie(1)}));
    feed(r, 0, 3000);
    if (two_inits) {
      ASSERT_TRUE(r.take(mp4::InitItem{movie(2)}));
    }
    feed(r, 3000, 7500);
    ASSERT_TRUE(r.commit());
  }
  std::string path(const std::string& name = "manifest") const { return directory_ + "/" + name; }
  std::string read(const std::string& name = "manifest") const {
    std::ifstream in(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& text, const std::string& name = "manifest") const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  static std::string zeroed(std::string text, std::size_t at, std::size_t count) {
    for (std::size_t i = at; i < std::min(at + count, text.size()); ++i) text[i] = '\0';
    return text;
  }
  std::size_t set_aside_chunks() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().filename().string().starts_with(".aside-chunk")) ++count;
    }
    return count;
  }
  // With this manifest instead (nothing: none), all eight chunks are found again, in their order.
  void expect_all_found(const std::optional<std::string>& damaged, bool two_inits = false) {
    std::filesystem::remove_all(directory_);
    record_and_kill(two_inits);
    if (damaged) {
      write(*damaged);
    } else {
      std::filesystem::remove(path());
    }
    const auto state = recover_recording(sys::real_file_system(), directory_, no_log());
    ASSERT_TRUE(state) << state.error().message;
    const VerifyReport report = verify();
    EXPECT_EQ(report.chunks, 8U);
    EXPECT_EQ(report.video_frames, 75U);
    EXPECT_EQ(report.audio_frames, 375U);
    EXPECT_EQ(set_aside_chunks(), 0U);
  }
};

TEST_F(LostLinesTest, AtTheEndWithAJournalOpen) {
  record_and_kill(false);
  const std::string whole = read();
  ASSERT_NE(whole.find("chunk_000007"), std::string::npos);
  {
    SCOPED_TRACE("the last newline is a zero");
    expect_all_found(zeroed(whole, whole.size() - 1, 1));
  }
  {
    SCOPED_TRACE("the last 40 bytes are zeros");
    expect_all_found(zeroed(whole, whole.size() - 40, 40));
  }
  {
    SCOPED_TRACE("the lines of two chunks are gone");
    expect_all_found(whole.substr(0, whole.find("# chunk 6")));
  }
  {
    SCOPED_TRACE("no manifest at all");
    expect_all_found(std::nullopt);
  }
}

TEST_F(LostLinesTest, InTheMiddle) {
  record_and_kill(false);
  const std::string whole = read();
  {
    SCOPED_TRACE("from the hash of one chunk into the description of the next");
    expect_all_found(zeroed(whole, whole.find("  chunk_000005") + 8, 16));
  }
  {
    SCOPED_TRACE("from one description into the one after the next");
    const auto at = whole.find("# chunk 4") + 5;
    expect_all_found(zeroed(whole, at, whole.find("# chunk 6") + 5 - at));
  }
  {
    SCOPED_TRACE("a sector");
    expect_all_found(zeroed(whole, whole.find("# chunk 3"), 512));
  }
}

TEST_F(LostLinesTest, OfInits) {
  record_and_kill(true);
  const std::string whole = read();
  for (const char* name : {"init_001", "init_002"}) {
    SCOPED_TRACE(name);
    expect_all_found(zeroed(whole, whole.find(name) - 74, 16), true);
  }
  SCOPED_TRACE("and everything behind them");
  expect_all_found(whole.substr(0, whole.find("# init 2")), true);
}

TEST_F(LostLinesTest, AnEndLineThatIsDamagedStaysTheEnd) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 2500);
    ASSERT_TRUE(r.finish(EndOfStream::whole));
  }
  const std::string whole = read();
  std::string text = whole;
  text[text.size() - 2] = text[text.size() - 2] == '1' ? '2' : '1';
  text[text.size() - 5] = text[text.size() - 5] == '1' ? '2' : '1';
  write(text);
  ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
  EXPECT_EQ(read(), whole);
  text[text.size() - 20] = text[text.size() - 20] == '1' ? '2' : '1';  // of the root
  write(text);
  EXPECT_FALSE(recover_recording(sys::real_file_system(), directory_, no_log())) << "it was closed";
  EXPECT_EQ(read(), text);
}

TEST_F(LostLinesTest, OfARecordingThatHasOnlyAJournal) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 500);
    ASSERT_TRUE(r.commit());
  }
  std::filesystem::remove(path());
  const auto state = recover_recording(sys::real_file_system(), directory_, no_log());
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(verify().video_frames, 5U);
  EXPECT_EQ(state->t0_wall_ns, clock_.now_ns);
}

TEST_F(LostLinesTest, WithoutItsNewestChunkARecordingGoesOn) {
  record_and_kill(false);
  ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
  std::filesystem::remove(path("chunk_000008.m4s"));
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 1000);
    ASSERT_TRUE(r.finish(EndOfStream::stopped));
  }
  const auto report = verify_recording(sys::real_file_system(), directory_, {});
  ASSERT_TRUE(report);
  ASSERT_EQ(report->findings.size(), 1U);
  EXPECT_EQ(report->findings[0].name, "chunk_000008.m4s");
  EXPECT_EQ(report->chunks, 9U);
}

TEST_F(LostLinesTest, APathThroughASymbolicLinkIsTheKernels) {
  std::filesystem::create_directories(root_ + "/far/away");
  std::filesystem::create_directory_symlink(root_ + "/far/away", root_ + "/link");
  directory_ = root_ + "/link/../rec";
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 500);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_TRUE(std::filesystem::exists(root_ + "/far/rec/manifest"));
}

}  // namespace
}  // namespace mc::spool
