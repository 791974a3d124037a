#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "spool/journal.hpp"

namespace mc::spool {
namespace {

class Journal : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "journal-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // A journal of three frames, an event and, when asked for, a seal; its bytes.
  ByteBuffer write(bool sealed) {
    auto writer = JournalWriter::create(fs_, directory_, {ChunkNumber{7}, InitNumber{2}, 123, {{1, 90000}}});
    EXPECT_TRUE(writer);
    for (std::uint64_t i = 0; i < 3; ++i) {
      JournalFrame frame;
      frame.sample = {1, 1, 90000 + i * 3000, 3000, -5, 4, i == 0};
      frame.continues = i == 0;
      frame.arrival_ns = 1000 + static_cast<std::int64_t>(i);
      frame.data = {1, 2, 3, static_cast<std::uint8_t>(i)};
      writer->add(frame);
    }
    writer->add(JournalEvent{42, R"({"event":"mark"})"});
    if (sealed) writer->add_seal({{{1, 2999}}});
    EXPECT_TRUE(writer->flush());
    return *sys::read_file(fs_, writer->path(), 1 << 20);
  }

  sys::FileSystem& fs_ = sys::real_file_system();
  std::string directory_;
};

TEST_F(Journal, WhatWasWrittenIsRead) {
  const ByteBuffer bytes = write(true);
  const JournalContent content = parse_journal(bytes);
  ASSERT_TRUE(content.head);
  EXPECT_EQ(*content.head, (JournalHead{ChunkNumber{7}, InitNumber{2}, 123, {{1, 90000}}}));
  ASSERT_EQ(content.entries.size(), 4U);
  const auto& frame = std::get<JournalFrame>(content.entries[0]);
  EXPECT_EQ(frame.sample, (mp4::Sample{1, 1, 90000, 3000, -5, 4, true}));
  EXPECT_TRUE(frame.continues);
  EXPECT_EQ(frame.arrival_ns, 1000);
  EXPECT_EQ(std::get<JournalEvent>(content.entries[3]).json, R"({"event":"mark"})");
  ASSERT_TRUE(content.seal);
  EXPECT_EQ(content.seal->last[0].duration, 2999U);
  EXPECT_EQ(content.torn_bytes, 0U);
}

TEST_F(Journal, TruncatedAtEveryByteGivesWholeRecordsOnly) {
  const ByteBuffer bytes = write(true);
  std::size_t most = 0;
  for (std::size_t n = 0; n <= bytes.size(); ++n) {
    const JournalContent content = parse_journal({bytes.data(), n});
    EXPECT_EQ(content.intact_bytes + content.torn_bytes, n);
    EXPECT_GE(content.entries.size(), most);
    most = content.entries.size();
  }
  EXPECT_EQ(most, 4U);
}

TEST_F(Journal, TailOfZerosIsNoRecord) {
  ByteBuffer bytes = write(false);
  const std::size_t whole = bytes.size();
  bytes.resize(whole + 4096);
  const JournalContent content = parse_journal(bytes);
  EXPECT_EQ(content.intact_bytes, whole);
  EXPECT_EQ(content.entries.size(), 4U);
}

TEST_F(Journal, FlippedByteCostsItsOwnRecordOnly) {
  const ByteBuffer bytes = write(true);
  const JournalKey key{ChunkNumber{7}, 123};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    ByteBuffer bad = bytes;
    bad[i] ^= 0x10;
    const JournalContent content = parse_journal(bad, key);
    std::size_t frames = 0;
    std::size_t told = 0;
    for (const auto& entry : content.entries) {
      const auto* event = std::get_if<JournalEvent>(&entry);
      if (event == nullptr) ++frames;
      if (event != nullptr && event->json.find("journal-damaged") != std::string::npos) ++told;
    }
    EXPECT_GE(frames + told, 3U) << i;
    EXPECT_EQ(content.damaged_inside, content.seal.has_value()) << "the seal is the last: torn or damaged, at " << i;
    EXPECT_GE(frames, 2U) << i;
    if (!content.head) {
      EXPECT_EQ(frames, 3U) << "the key tells what belongs to a journal without its head";
    }
  }
}

TEST_F(Journal, RecordsOfAnotherJournalAreNotTaken) {
  ByteBuffer bytes = write(false);
  const std::size_t whole = bytes.size();
  auto other = JournalWriter::create(fs_, directory_, {ChunkNumber{6}, InitNumber{2}, 123, {}});
  ASSERT_TRUE(other);
  for (std::uint64_t i = 0; i < 9; ++i) other->add(JournalEvent{static_cast<std::int64_t>(i), "{}"});
  ASSERT_TRUE(other->flush());
  append(bytes, *sys::read_file(fs_, other->path(), 1 << 20));  // what the blocks held before
  const JournalContent content = parse_journal(bytes);
  EXPECT_EQ(content.intact_bytes, whole);
  EXPECT_EQ(content.entries.size(), 4U);
  EXPECT_FALSE(content.damaged_inside);
}

TEST_F(Journal, NameRoundTrips) {
  EXPECT_EQ(parse_journal_name(journal_name(ChunkNumber{7}))->chunk.value, 7U);
  EXPECT_EQ(parse_journal_name(journal_name(ChunkNumber{7}, 3))->generation, 3U);
  EXPECT_FALSE(parse_journal_name(".journal-000007.1")) << "the first generation has one spelling";
  EXPECT_FALSE(parse_journal_name(".journal-000007."));
  EXPECT_FALSE(parse_journal_name(".journal-7"));
  EXPECT_FALSE(parse_journal_name(".journal-00000x"));
}

}  // namespace
}  // namespace mc::spool
