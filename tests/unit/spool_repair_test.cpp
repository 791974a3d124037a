// Manifests that a disk has damaged, put right.
#include <gtest/gtest.h>

#include <fstream>

#include "recorder_fixture.hpp"
#include "spool/manifest_repair.hpp"

namespace mc::spool {
namespace {

class RepairTest : public RecorderTest {
 protected:
  // Three seconds with a hole, a mark and two inits.
  void record(EndOfStream how) {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie(1)}));
    feed(r, 0, 1200);
    ASSERT_TRUE(r.take(event(R"({"event":"gap","reason":"device-lost"})", 1200)));
    ASSERT_TRUE(r.take(event(R"({"event":"mark","text":"here it is"})", 1200)));
    feed(r, 2000, 3000);
    ASSERT_TRUE(r.take(mp4::InitItem{movie(2)}));
    feed(r, 3000, 3500);
    if (how == EndOfStream::whole) {
      ASSERT_TRUE(r.take(event(R"({"event":"end"})", 3500)));
    }
    ASSERT_TRUE(r.finish(how));
  }
  std::string path() const { return directory_ + "/manifest"; }
  std::string read() const {
    std::ifstream in(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& text) const { std::ofstream(path(), std::ios::binary) << text; }
  Status repair() {
    DiskErrors errors(no_log());
    return repair_manifest(sys::real_file_system(), directory_, errors);
  }
  std::size_t hidden_files(const std::string& prefix) const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().filename().string().starts_with(prefix)) ++count;
    }
    return count;
  }
};

TEST_F(RepairTest, WhatIsWholeStaysAsItIs) {
  record(EndOfStream::whole);
  const std::string before = read();
  ASSERT_TRUE(repair());
  EXPECT_EQ(read(), before);
  EXPECT_EQ(hidden_files(".aside"), 0U);
}

// Some bytes, on a real disk, with a hole, a mark and two inits; crash/spool_flip_test tries every bit.
TEST_F(RepairTest, AFlippedByteOfAnOpenAndOfAClosedManifestIsPutRight) {
  for (const auto how : {EndOfStream::stopped, EndOfStream::whole}) {
    std::filesystem::remove_all(directory_);
    record(how);
    const std::string before = read();
    constexpr std::size_t kStep = 11;
    for (std::size_t i = 0; i < before.size(); i += kStep) {
      for (const unsigned mask : {0x01U, static_cast<unsigned>('\n') ^ static_cast<unsigned char>(before[i])}) {
        if (mask == 0) continue;
        std::string changed = before;
        changed[i] = static_cast<char>(static_cast<unsigned char>(changed[i]) ^ mask);
        write(changed);
        const auto state = recover_recording(sys::real_file_system(), directory_, no_log());
        ASSERT_TRUE(state) << i << ": " << state.error().message;
        // The digits of a hash have no CRC: as long as it is open, only reading the file again tells.
        if (read() == changed) {
          ASSERT_TRUE(repair());
        }
        ASSERT_EQ(read(), before) << "byte " << i << " of\n" << changed;
      }
    }
  }
}

TEST_F(RepairTest, LinesThatAreLostAreMadeAnewFromTheFiles) {
  record(EndOfStream::stopped);
  const std::string before = read();
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < before.size();) {
    const auto newline = before.find('\n', at);
    lines.push_back(before.substr(at, newline + 1 - at));
    at = newline + 1;
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string damaged;
    for (std::size_t k = 0; k < lines.size(); ++k) damaged += k == i ? "garbage\n" : lines[k];
    write(damaged);
    const auto state = recover_recording(sys::real_file_system(), directory_, no_log());
    ASSERT_TRUE(state) << lines[i] << state.error().message;
    const VerifyReport report = verify();
    EXPECT_EQ(report.chunks, 4U) << lines[i];
    EXPECT_EQ(report.video_frames, 27U) << lines[i];
    // Chunk 3 was begun before the second init came: that it plays with the first one is lost with its line.
    if (lines[i].starts_with("# chunk 3")) continue;
    const bool made_anew = lines[i].find("m4s") != std::string::npos || lines[i].find("mp4") != std::string::npos ||
                           lines[i].starts_with("# chunk") || lines[i].starts_with("# init");
    if (made_anew) {
      EXPECT_EQ(read(), before) << lines[i];
    }
  }
  EXPECT_GE(hidden_files(".aside-manifest-"), lines.size()) << "each damaged one is kept";
}

TEST_F(RepairTest, WithoutItsManifestARecordingIsFoundAgainFromItsFiles) {
  record(EndOfStream::stopped);
  const auto m = manifest();
  std::filesystem::remove(path());
  ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
  const VerifyReport report = verify();
  EXPECT_EQ(report.chunks, 4U);
  EXPECT_EQ(report.video_frames, 27U);
  EXPECT_NEAR(static_cast<double>(*manifest().t0_wall_ns - *m.t0_wall_ns), 0.0, 2.0);
}

TEST_F(RepairTest, AFileThatIsItselfDamagedKeepsItsLines) {
  record(EndOfStream::stopped);
  const std::string before = read();
  std::string chunk;
  {
    std::ifstream in(directory_ + "/chunk_000002.m4s", std::ios::binary);
    chunk.assign(std::istreambuf_iterator<char>(in), {});
  }
  chunk[chunk.size() / 2] ^= 1;
  std::ofstream(directory_ + "/chunk_000002.m4s", std::ios::binary) << chunk;
  std::string changed = before;
  changed[changed.find("t=1000/1000") + 2] ^= 1;
  write(changed);
  ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
  EXPECT_EQ(read(), before);
  const auto report = verify_recording(sys::real_file_system(), directory_, {});
  ASSERT_EQ(report->findings.size(), 1U);
  EXPECT_EQ(report->findings[0].name, "chunk_000002.m4s");
}

// A wrong digit of a hash would be sealed for good by the end line.
TEST_F(RepairTest, ClosingPutsWrongDigitsOfAHashRight) {
  record(EndOfStream::stopped);
  const std::string before = read();
  std::string changed = before;
  for (const std::size_t before_name : {5U, 20U}) {
    char& digit = changed[changed.find("  chunk_000002.m4s") - before_name];
    digit = digit == '3' ? '7' : '3';
  }
  write(changed);
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie(2)}));
  feed(r, 0, 1000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_TRUE(r.closed());
  EXPECT_TRUE(verify().closed);
  EXPECT_TRUE(read().starts_with(before));
}

// The manifest changes under a running recorder.
TEST_F(RepairTest, ClosingSealsOnlyWhatThisWriterWrote) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 3500);
  ASSERT_TRUE(r.commit());
  std::string changed;
  while (changed.find("  chunk_000001.m4s\n") == std::string::npos) {  // until another thread has published it
    ASSERT_TRUE(r.commit());
    changed = read();
  }
  const auto at = changed.find("  chunk_000001.m4s") - 5;
  {
    std::fstream file(path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(changed[at] == '3' ? '7' : '3');
  }
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_TRUE(r.closed());
  EXPECT_TRUE(verify().closed);
}

// The journal of a listed chunk is still there, as a crash leaves it; the disk has damaged the chunk.
class JournalOfListedChunk : public RepairTest {
 protected:
  void SetUp() override {
    RepairTest::SetUp();
    {
      Recorder r = open();
      ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
      feed(r, 0, 1000);
      // Without sound the first chunk waits for its last duration.
      for (std::uint64_t ms = 1000; ms < 1500; ms += 100) ASSERT_TRUE(r.take(picture(ms, ms == 1000)));
      ASSERT_TRUE(r.commit());
    }  // killed
    const auto bytes = sys::read_file(fs_, journal(1), 1 << 20);
    ASSERT_TRUE(bytes);
    content_ = parse_journal(*bytes);
    ASSERT_TRUE(recover_recording(fs_, directory_, no_log()));
    before_ = verify();
  }
  std::string journal(std::uint32_t chunk) const { return directory_ + "/" + journal_name(ChunkNumber{chunk}); }
  void put_journal_back(bool sealed) {
    auto writer = JournalWriter::create(fs_, directory_, *content_.head);
    ASSERT_TRUE(writer);
    for (const auto& entry : content_.entries) writer->add(entry);
    if (sealed) writer->add_seal(make_seal(movie(), content_.entries, {{1, 1000}}));
    ASSERT_TRUE(writer->flush());
  }
  void damage_chunk() const { std::ofstream(directory_ + "/chunk_000001.m4s", std::ios::binary) << "gone"; }

  sys::FileSystem& fs_ = sys::real_file_system();
  JournalContent content_;
  VerifyReport before_;
};

TEST_F(JournalOfListedChunk, TheChunkIsBuiltAgain) {
  put_journal_back(true);
  damage_chunk();
  ASSERT_TRUE(recover_recording(fs_, directory_, no_log()));
  EXPECT_EQ(verify().video_frames, before_.video_frames);
  EXPECT_EQ(hidden_files(".aside-chunk_000001"), 1U);
  EXPECT_FALSE(std::filesystem::exists(journal(1)));
}

TEST_F(JournalOfListedChunk, AJournalWithoutItsSealIsKept) {
  put_journal_back(false);
  damage_chunk();
  ASSERT_TRUE(recover_recording(fs_, directory_, no_log()));
  EXPECT_EQ(hidden_files(".aside-.journal-000001"), 1U);
}

TEST_F(JournalOfListedChunk, BesideAWholeChunkItGoes) {
  put_journal_back(false);
  ASSERT_TRUE(recover_recording(fs_, directory_, no_log()));
  EXPECT_FALSE(std::filesystem::exists(journal(1)));
  EXPECT_EQ(hidden_files(".aside"), 0U);
}

}  // namespace
}  // namespace mc::spool
