#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "recorder_fixture.hpp"
#include "watched_file_system.hpp"

namespace mc::spool {
namespace {

TEST_F(RecorderTest, ThreeAndAHalfSecondsAreFourChunks) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 3500);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_TRUE(r.closed());
  const VerifyReport report = verify();
  EXPECT_TRUE(report.closed);
  EXPECT_EQ(report.chunks, 4U);
  EXPECT_EQ(report.video_frames, 35U);
  EXPECT_EQ(report.audio_frames, 175U);
  EXPECT_EQ(acknowledged_, 210U);
  const auto m = manifest();
  EXPECT_TRUE(m.gaps.empty());
  EXPECT_EQ(m.path->text(), "s/001/alice");
  EXPECT_EQ(m.files[1].chunk->duration, (MediaTime{1000, 1000}));
  EXPECT_EQ(m.files[4].chunk->duration, (MediaTime{500, 1000}));
}

TEST_F(RecorderTest, NothingIsAcknowledgedBeforeCommit) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  ASSERT_TRUE(r.take(picture(0, true)));
  EXPECT_EQ(acknowledged_, 0U);
  ASSERT_TRUE(r.commit());
  EXPECT_EQ(acknowledged_, 1U);
}

TEST_F(RecorderTest, StreamWithEventsIsClosedOnlyByItsEnd) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(event(R"({"event":"start"})")));
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 1500);
    ASSERT_TRUE(r.finish(EndOfStream::whole));
    EXPECT_FALSE(r.closed());
  }
  EXPECT_FALSE(verify().closed);
  clock_.now_ns += 5'000'000'000;
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1000);
  ASSERT_TRUE(r.take(event(R"({"event":"end"})", 1000)));
  ASSERT_TRUE(r.finish(EndOfStream::torn));
  EXPECT_TRUE(r.closed());
  const VerifyReport report = verify();
  EXPECT_EQ(report.chunks, 3U);
  EXPECT_EQ(report.video_frames, 25U);
}

TEST_F(RecorderTest, ContinuingPutsTheNewInputWhereTheClockSays) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 1500);
    ASSERT_TRUE(r.finish(EndOfStream::stopped));
  }
  clock_.now_ns += 4'000'000'000;
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  const auto m = manifest();
  ASSERT_EQ(m.gaps.size(), 2U);
  EXPECT_EQ(m.gaps[0], (wire::GapLine{1, {1500, 1000}, {4000, 1000}, "restarted"}));
  EXPECT_EQ(m.gaps[1], (wire::GapLine{2, {12000, 8000}, {32000, 8000}, "restarted"}));
  EXPECT_EQ(m.chunk_count(), 3U);
}

TEST_F(RecorderTest, ClockSetBackNeverPutsTheInputBeforeWhatIsThere) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 1500);
    ASSERT_TRUE(r.finish(EndOfStream::stopped));
  }
  clock_.now_ns -= 3'600'000'000'000;
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_EQ(verify().video_frames, 25U);
}

TEST_F(RecorderTest, GapThatNoFrameFollowsIsLedgeredAllTheSame) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1500);
  ASSERT_TRUE(r.take(event(R"({"event":"gap","track":3,"reason":"queue-overflow","packets":9})", 1500)));
  ASSERT_TRUE(r.take(event(R"({"event":"gap","track":1,"reason":"queue-overflow","packets":7})", 1500)));
  ASSERT_TRUE(r.take(event(R"({"event":"end"})", 1500)));
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  const auto m = manifest();
  EXPECT_TRUE(m.gaps.empty());
  ASSERT_EQ(m.notes.size(), 2U);
  EXPECT_EQ(m.notes[0].keyword, "dropped");
  EXPECT_EQ(m.notes[0].values[0], (std::pair<std::string, std::string>{"track", "1"}));
  EXPECT_EQ(m.notes[1].values[0], (std::pair<std::string, std::string>{"track", "3"}));
}

TEST_F(RecorderTest, HoleIsLedgeredWithTheReasonThatCameInBand) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1500);
  ASSERT_TRUE(r.take(event(R"({"event":"gap","track":1,"reason":"device-lost"})", 1500)));
  feed(r, 4000, 5000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  const auto m = manifest();
  ASSERT_EQ(m.gaps.size(), 2U);
  EXPECT_EQ(m.gaps[0], (wire::GapLine{1, {1500, 1000}, {4000, 1000}, "device-lost"}));
  EXPECT_EQ(m.gaps[1].reason, "source");
}

TEST_F(RecorderTest, ChangeOfParametersMakesANewInitThatFitsEveryChunk) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie(1)}));
  feed(r, 0, 1000);
  ASSERT_TRUE(r.take(mp4::InitItem{movie(2)}));
  feed(r, 1000, 2000);
  ASSERT_TRUE(r.take(mp4::InitItem{movie(1)}));  // back again: known already
  feed(r, 2000, 3000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  const auto m = manifest();
  EXPECT_EQ(m.chunk_count(), 3U);
  EXPECT_EQ(m.files.size(), 5U);
  EXPECT_EQ(m.files[4].chunk->init.value, 2U);
}

TEST_F(RecorderTest, PictureBeforeTheFirstKeyFrameIsLeftOutAndSaid) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  ASSERT_TRUE(r.take(picture(0, false)));
  ASSERT_TRUE(r.take(picture(100, false)));
  ASSERT_TRUE(r.take(picture(200, true)));
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_EQ(verify().video_frames, 1U);
  const auto m = manifest();
  ASSERT_EQ(m.notes.size(), 1U);
  EXPECT_EQ(m.notes[0].keyword, "dropped");
}

TEST_F(RecorderTest, TimeThatRunsBackwardsStaysStrictlyRising) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 500);
  ASSERT_TRUE(r.take(picture(300, false)));
  ASSERT_TRUE(r.take(picture(300, false)));
  feed(r, 500, 1000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_EQ(verify().video_frames, 12U);
}

TEST_F(RecorderTest, NoFrameIsAnError) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  const auto finished = r.finish(EndOfStream::whole);
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().kind, ErrorKind::damaged);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/manifest"));
}

TEST_F(RecorderTest, ClosedRecordingTakesNothingMore) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 500);
    ASSERT_TRUE(r.finish(EndOfStream::whole));
  }
  const auto again = Recorder::open(sys::real_file_system(), directory_, options_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::refused);
}

TEST_F(RecorderTest, BuildingBesideTheRecordingGivesTheSameBytes) {
  const auto record = [&](Publisher::Mode mode) {
    std::filesystem::remove_all(directory_);
    options_.publishing = mode;
    Recorder r = open();
    EXPECT_TRUE(r.take(event(R"({"event":"start","recording":"00112233445566778899aabbccddeeff"})")));
    EXPECT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 5500);
    EXPECT_TRUE(r.take(event(R"({"event":"end"})", 5500)));
    EXPECT_TRUE(r.finish(EndOfStream::whole));
    return std::string(as_text(load_manifest(sys::real_file_system(), directory_)->bytes));
  };
  EXPECT_EQ(record(Publisher::Mode::background), record(Publisher::Mode::immediate));
}

TEST_F(RecorderTest, ChunksAreToldOnceEachInOrderByTheCallersThread) {
  std::vector<std::uint32_t> told;
  const auto self = std::this_thread::get_id();
  options_.on_chunk = [&](const wire::ChunkLine& line, const std::string& name) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    EXPECT_EQ(name, wire::chunk_name(line.number));
    told.push_back(line.number.value);
  };
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 6000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_EQ(told, (std::vector<std::uint32_t>{1, 2, 3, 4, 5, 6}));
}

// Two seconds, a commit after each frame, every operation of which fails once; then again for good.
class FailingDiskTest : public RecorderTest {
 protected:
  struct Outcome {
    Status status;
    std::uint64_t acknowledged = 0;
    std::uint32_t disk_errors = 0;
    std::vector<std::string> log;
  };
  Outcome record(std::size_t fail_at, int error, bool for_good) {
    std::filesystem::remove_all(directory_);
    WatchedFileSystem fs(directory_);
    fs.fail_at(fail_at, error, for_good);
    Outcome outcome;
    options_.publishing = Publisher::Mode::immediate;
    options_.on_durable = [&](const DurableFrame&) { ++outcome.acknowledged; };
    const auto run = [&]() -> Status {
      MC_TRY_ASSIGN(Recorder r, Recorder::open(fs, directory_, options_));
      r.begin_stream();
      MC_TRY(r.take(mp4::InitItem{movie()}));
      for (std::uint64_t ms = 0; ms < 2000; ms += 100) {
        MC_TRY(r.take(picture(ms, ms % 1000 == 0)));
        MC_TRY(r.take(sound(ms)));
        MC_TRY(r.commit());
      }
      MC_TRY(r.finish(EndOfStream::whole));
      outcome.disk_errors = r.disk_errors();
      return {};
    };
    outcome.status = run();
    outcome.log = fs.take_log();
    return outcome;
  }
  std::size_t count_operations() {
    record(SIZE_MAX, EIO, false);  // makes the parents, once
    return record(SIZE_MAX, EIO, false).log.size();
  }
  // Everything acknowledged is found by a recovery on a disk that is well again.
  void expect_nothing_lost(const Outcome& outcome, const std::string& where) {
    if (!std::filesystem::exists(directory_ + "/manifest")) {
      EXPECT_EQ(outcome.acknowledged, 0U) << where;
      return;
    }
    ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log())) << where;
    const VerifyReport report = verify();
    EXPECT_GE(report.video_frames + report.audio_frames, outcome.acknowledged) << where;
  }
};

TEST_F(FailingDiskTest, AFlushThatFailsOnceIsMadeGoodInANewFile) {
  const std::size_t operations = count_operations();
  ASSERT_GT(operations, 60U);
  std::size_t made_good = 0;
  for (std::size_t n = 0; n < operations; ++n) {
    const Outcome outcome = record(n, EIO, false);
    ASSERT_GT(outcome.log.size(), n);
    const std::string failed = outcome.log[n];
    if (outcome.status) {
      EXPECT_EQ(outcome.acknowledged, 40U) << failed;
      made_good += outcome.disk_errors > 0 ? 1 : 0;
    } else {
      EXPECT_EQ(outcome.status.error().kind, ErrorKind::io) << failed;
    }
    const bool is_flush =
        failed.starts_with("sync_data ") || failed.starts_with("sync ") || failed.starts_with("write ");
    EXPECT_TRUE(outcome.status || !is_flush) << failed;
    // The same file is never flushed again; one that is made or renamed later is another file of that name.
    if (is_flush && !failed.starts_with("write ")) {
      const std::string name = failed.substr(failed.find(' '));
      const auto is_another = [&](const std::string& line) {
        return line == "create" + name || line == "rename" + name;
      };
      for (std::size_t i = n + 1; i < outcome.log.size() && !is_another(outcome.log[i]); ++i) {
        EXPECT_NE(outcome.log[i], failed) << "flushed again";
      }
    }
    expect_nothing_lost(outcome, failed);
  }
  EXPECT_GT(made_good, operations / 3);
}

TEST_F(FailingDiskTest, ADiskThatFailsForGoodEndsItAndKeepsWhatWasAcknowledged) {
  for (const int error : {EIO, ENOSPC}) {
    const std::size_t operations = count_operations();
    for (std::size_t n = 0; n < operations; ++n) {
      const Outcome outcome = record(n, error, true);
      ASSERT_GT(outcome.log.size(), n);
      // Only what comes after the end of the recording may fail unnoticed.
      if (!outcome.status) {
        EXPECT_EQ(outcome.status.error().kind, error == EIO ? ErrorKind::io : ErrorKind::no_space);
      }
      EXPECT_TRUE(!outcome.status || n + 3 > operations) << outcome.log[n];
      expect_nothing_lost(outcome, outcome.log[n]);
    }
  }
}

TEST_F(RecorderTest, ANearlyFullDiskIsWarnedOfThenRecordingStopsCleanlyAndGoesOnLater) {
  WatchedFileSystem fs(directory_);
  std::vector<DiskLevel> levels;
  options_.on_disk = [&](DiskLevel level, const sys::SpaceInfo&) { levels.push_back(level); };
  options_.reserve_bytes = 1000;
  options_.warn_bytes = 5000;
  fs.set_space({100'000, 1000, 1'000'000});
  {
    auto r = Recorder::open(fs, directory_, options_);
    ASSERT_TRUE(r);
    r->begin_stream();
    ASSERT_TRUE(r->take(event(R"({"event":"start"})")));
    ASSERT_TRUE(r->take(mp4::InitItem{movie()}));
    feed(*r, 0, 1000);
    ASSERT_TRUE(r->commit());
    EXPECT_TRUE(levels.empty());
    fs.set_space({4000, 1000, 1'000'000});
    feed(*r, 1000, 2000);
    ASSERT_TRUE(r->commit());
    EXPECT_EQ(levels, (std::vector{DiskLevel::low}));
    fs.set_space({900, 1000, 1'000'000});
    feed(*r, 2000, 2500);
    const Status full = r->commit();
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().kind, ErrorKind::no_space);
    EXPECT_EQ(acknowledged_, 150U) << "what came in was made durable all the same";
    EXPECT_EQ(levels.back(), DiskLevel::full);
    ASSERT_TRUE(r->finish(EndOfStream::disk_full));
    EXPECT_FALSE(r->closed());
    EXPECT_EQ(r->chunks(), 3U);
  }
  verify();
  auto m = manifest();
  ASSERT_EQ(m.gaps.size(), 2U);
  EXPECT_EQ(m.gaps[0], (wire::GapLine{1, {2500, 1000}, {2500, 1000}, "disk-full"}));
  EXPECT_EQ(Recorder::open(fs, directory_, options_).error().kind, ErrorKind::no_space) << "still full";

  clock_.now_ns += 9'000'000'000;
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  m = manifest();
  ASSERT_EQ(m.gaps.size(), 4U);
  EXPECT_EQ(m.gaps[2], (wire::GapLine{1, {2500, 1000}, {9000, 1000}, "disk-full"}));
}

// A disk of so many bytes that holds the recording alone; whether it would have run over is noted.
class SmallDisk final : public WatchedFileSystem {
 public:
  SmallDisk(const std::string& directory, std::uint64_t capacity)
      : WatchedFileSystem(directory), directory_(directory), capacity_(capacity) {}

  Result<sys::SpaceInfo> space(const std::string&) override {
    note();
    return sys::SpaceInfo{capacity_ - std::min(capacity_, used_), 1000, capacity_};
  }
  // Between these two a chunk takes its room twice.
  Status rename(const std::string& from, const std::string& to) override {
    note();
    return WatchedFileSystem::rename(from, to);
  }
  std::uint64_t used() const { return used_; }
  bool ran_over() const { return most_ > capacity_; }

 private:
  void note() {
    used_ = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) used_ += entry.file_size();
    most_ = std::max(most_, used_);
  }
  std::string directory_;
  std::uint64_t capacity_, used_ = 0, most_ = 0;
};

TEST_F(RecorderTest, ASmallDiskHasRoomForACleanEndHoweverMuchIsWaiting) {
  options_.publishing = Publisher::Mode::immediate;
  for (std::uint64_t capacity = 3'000'000; capacity < 3'600'000; capacity += 60'000) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    SmallDisk disk(directory_, capacity);
    auto r = Recorder::open(disk, directory_, options_);
    ASSERT_TRUE(r);
    ASSERT_TRUE(r->take(mp4::InitItem{movie()}));
    Status taken;
    for (std::uint64_t ms = 0; taken; ms += 100) {
      auto item = picture(ms, ms % 1000 == 0);
      item.data.resize(60'000);
      item.sample.size_bytes = static_cast<std::uint32_t>(item.data.size());
      taken = r->take(std::move(item));
      if (taken && r->flush_is_due()) taken = r->commit();
    }
    EXPECT_EQ(taken.error().kind, ErrorKind::no_space);
    ASSERT_TRUE(r->finish(EndOfStream::disk_full));
    EXPECT_FALSE(disk.ran_over()) << capacity;
    EXPECT_GT(disk.used(), capacity / 3);
    EXPECT_EQ(manifest().gaps.back().reason, "disk-full");
  }
}

TEST_F(RecorderTest, FewInodesAreAFullDiskToo) {
  WatchedFileSystem fs(directory_);
  fs.set_space({1ULL << 40, 10, 1ULL << 41});
  EXPECT_EQ(Recorder::open(fs, directory_, options_).error().kind, ErrorKind::no_space);
  fs.set_space({1ULL << 40, UINT64_MAX, 1ULL << 41});
  EXPECT_TRUE(Recorder::open(fs, directory_, options_));
}

TEST_F(RecorderTest, AMarkIsDurableWhenItIsAnswered) {
  {
    Recorder r = open();
    EXPECT_EQ(r.add_event_now({{"event", "mark"}, {"text", "too early"}}).error().kind, ErrorKind::unavailable);
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 700);
    const auto at = r.add_event_now({{"event", "mark"}, {"text", "the answer = 42"}});
    ASSERT_TRUE(at);
    EXPECT_EQ(*at, 700'000'000);
  }  // no finish: killed
  ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
  verify();
  const auto m = manifest();
  ASSERT_EQ(m.notes.size(), 1U);
  EXPECT_EQ(m.notes[0].keyword, "mark");
  EXPECT_EQ(m.notes[0].value("text"), "the answer = 42");
  EXPECT_EQ(m.notes[0].time(), (MediaTime{700'000'000, 1'000'000'000}));
}

TEST_F(RecorderTest, TheLossWindowIsMeasuredFrameByFrame) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  ASSERT_TRUE(r.take(picture(0, true)));
  clock_.now_ns += 7'000'000;
  ASSERT_TRUE(r.take(sound(0)));
  EXPECT_EQ(r.loss_window().frames_pending, 2U);
  clock_.now_ns += 1'000'000;
  ASSERT_TRUE(r.commit());
  EXPECT_EQ(r.loss_window().frames_pending, 0U);
  EXPECT_EQ(r.loss_window().flushes, 1U);
  EXPECT_EQ(r.loss_window().frame_to_durable.count(), 2U);
  EXPECT_EQ(r.loss_window().frame_to_durable.max_us(), 8000U);
}

TEST_F(RecorderTest, OfTwoJournalsOfAChunkTheOneThatSaysMoreCounts) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 600);
    ASSERT_TRUE(r.commit());
  }
  const std::string journal = directory_ + "/" + journal_name(ChunkNumber{1});
  std::filesystem::copy_file(journal, directory_ + "/" + journal_name(ChunkNumber{1}, 2));
  std::filesystem::resize_file(journal, std::filesystem::file_size(journal) / 2);
  ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
  EXPECT_EQ(verify().video_frames, 6U);
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".journal")) << entry.path();
  }
}

// What a killed writer leaves: journals, cut at every byte, and no more.
TEST_F(RecorderTest, JournalTruncatedAtEveryByteIsRecoveredTwiceAlike) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 1040);
    ASSERT_TRUE(r.commit());
  }  // no finish: killed
  const std::string journal = directory_ + "/" + journal_name(ChunkNumber{2});
  const auto whole = std::filesystem::file_size(journal);
  std::filesystem::copy(root_, root_ + ".kept", std::filesystem::copy_options::recursive);
  for (std::uintmax_t n = 0; n <= whole; n += 3) {
    std::filesystem::remove_all(root_);
    std::filesystem::copy(root_ + ".kept", root_, std::filesystem::copy_options::recursive);
    std::filesystem::resize_file(journal, n);
    auto state = recover_recording(sys::real_file_system(), directory_, no_log());
    ASSERT_TRUE(state) << state.error().message;
    const VerifyReport first = verify();
    EXPECT_GE(first.video_frames, 10U);
    ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
    EXPECT_EQ(verify().video_frames, first.video_frames);
  }
  std::filesystem::remove_all(root_ + ".kept");
}

}  // namespace
}  // namespace mc::spool
