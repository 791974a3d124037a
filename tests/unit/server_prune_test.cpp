#include <cerrno>
#include <filesystem>

#include "base/clock.hpp"
#include "server/prune.hpp"
#include "unit/server_recording.hpp"
#include "unit/watched_file_system.hpp"

namespace mc::server {
namespace {

// Does something just before a directory loses its name.
class HookedFileSystem : public WatchedFileSystem {
 public:
  using WatchedFileSystem::WatchedFileSystem;
  std::function<void()> before_rename;
  Status rename_new(const std::string& from, const std::string& to) override {
    if (before_rename) std::exchange(before_rename, nullptr)();
    return WatchedFileSystem::rename_new(from, to);
  }
};

class Prune : public ServiceTest {
 protected:
  Prune() : fs_(directory_ / "store") {
    put_files(recording_);
    EXPECT_TRUE(audit(recording_, recording_.manifest).synced);
    control_log_ = ControlLog::open(sys::real_file_system(), directory_ / "audit.jsonl", no_log()).value();
    options_.keys = {public_key_};
    options_.now_ns = system_clock().wall_ns() + std::int64_t{3600} * 1'000'000'000;
    options_.older_than_s = 1800;
    options_.control_log = control_log_.get();
  }
  Status prune() {
    told_.clear();
    return prune_store(fs_, directory_ / "store", options_, no_log(), [&](const PruneOutcome& outcome) -> Status {
      told_.push_back(outcome);
      return {};
    });
  }
  // Why the one recording is still there; empty: it is gone.
  std::string kept() {
    const Status status = prune();
    EXPECT_TRUE(status) << status.error().message;
    EXPECT_EQ(told_.size(), 1U);
    return told_.empty() ? "nothing was told" : told_.front().kept_because;
  }
  using Tree = std::map<std::string, std::string>;  // path → bytes
  Tree tree() {
    Tree found;
    const std::filesystem::path root(directory_ / "store");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      const std::string path = entry.path().lexically_relative(root).string();
      if (path == ".lock") continue;
      std::ifstream in(entry.path());
      found[path] = entry.is_directory() ? "" : std::string(std::istreambuf_iterator<char>(in), {});
    }
    return found;
  }
  std::string log_text() {
    std::ifstream in(directory_ / "audit.jsonl");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const TestRecording recording_;
  HookedFileSystem fs_;
  std::unique_ptr<ControlLog> control_log_;
  PruneOptions options_;
  std::vector<PruneOutcome> told_;
};

TEST_F(Prune, WhatIsSyncedForLongEnoughGoesAndTheLogSaysSo) {
  EXPECT_EQ(kept(), "");
  EXPECT_EQ(tree(), Tree{}) << "the empty directories above it too";
  EXPECT_EQ(told_.front().files, 7U);
  EXPECT_EQ(told_.front().receipt.recording_id, recording_.id);
  const std::string log = log_text();
  EXPECT_NE(log.find(R"("event":"pruned")"), std::string::npos) << log;
  EXPECT_NE(log.find(recording_.id), std::string::npos);
}

TEST_F(Prune, TheLogIsDurableBeforeAnythingIsRemoved) {
  std::string log;
  fs_.before_rename = [&] { fs_.before_rename = [&] { log = log_text(); }; };  // the second one
  EXPECT_EQ(kept(), "");
  EXPECT_NE(log.find(R"("event":"pruned")"), std::string::npos) << log;
}

TEST_F(Prune, WhatIsNotSyncedStaysAsItIs) {
  const std::string chunk = "chunk_000002.m4s", receipt = wire::receipt_name(public_key_.fingerprint());
  const auto remove = [&](const std::string& name) { std::filesystem::remove(file(name)); };
  const struct {
    const char* reason;
    std::function<void()> spoil;
  } cases[] = {
      {"not Synced: it has no receipt by the key", [&] { remove(receipt); }},
      {"not Synced: it has no receipt by the key",
       [&] {
         std::string text = on_disk(receipt);
         text[text.find("chunks 3") + 7] = '4';
         overwrite(receipt, text);
       }},
      {"not Synced: it has no manifest", [&] { remove("manifest"); }},
      {"not Synced: it is still open", [&] { overwrite("manifest", recording_.open_manifest); }},
      {"not Synced: its manifest is damaged",
       [&] {
         std::string text = recording_.manifest;
         text[text.find("chunk 2")] = 'C';
         overwrite("manifest", text);
       }},
      {"not Synced: 'chunk_000002.m4s' is missing", [&] { remove(chunk); }},
      {"not Synced: 'chunk_000002.m4s' is damaged", [&] { overwrite(chunk, "media of chunk X"); }},
      {"'chunk_000004.m4s' is not in its manifest", [&] { overwrite("chunk_000004.m4s", "more"); }},
      {"'.conflict-chunk_000001.m4s-0123' is there for a person to look at",
       [&] { overwrite(".conflict-chunk_000001.m4s-0123", "other"); }},
      {"'.damaged-manifest-0123' is there for a person to look at", [&] { overwrite(".damaged-manifest-0123", "x"); }},
      {"something is being received", [&] { overwrite(".stage-7", "half"); }},
      {"'notes.txt' is none of its files", [&] { overwrite("notes.txt", "mine"); }},
      {"'mine' is none of its files", [&] { std::filesystem::create_directory(file("mine")); }},
  };
  const std::string whole = directory_ / "store/studio-a";
  std::filesystem::copy(whole, directory_ / "keep", std::filesystem::copy_options::recursive);
  for (const auto& [reason, spoil] : cases) {
    spoil();
    const Tree before = tree();
    EXPECT_EQ(kept(), reason);
    EXPECT_EQ(tree(), before) << reason;
    std::filesystem::remove_all(whole);
    std::filesystem::copy(directory_ / "keep", whole, std::filesystem::copy_options::recursive);
  }
  EXPECT_EQ(log_text(), "");
  options_.keys = {digest::PrivateKey::generate()->public_key().value()};
  EXPECT_EQ(kept(), "not Synced: it has no receipt by the key");
  options_.keys = {public_key_};
  std::filesystem::create_directories(directory_ / "store/studio-b/001");
  std::filesystem::copy(file(""), directory_ / "store/studio-b/001/alice");
  ASSERT_TRUE(prune());
  ASSERT_EQ(told_.size(), 2U);
  EXPECT_EQ(told_[0].kept_because, "");
  EXPECT_EQ(told_[1].kept_because, "not Synced: it has no receipt by the key") << "it is for another path";
}

TEST_F(Prune, WhatIsNotOldEnoughStays) {
  options_.older_than_s = 7200;
  EXPECT_NE(kept().find("not long enough ago"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(file("chunk_000001.m4s")));
}

TEST_F(Prune, ADryRunChangesNothing) {
  options_.control_log = nullptr;
  const Tree before = tree();
  EXPECT_EQ(kept(), "");
  EXPECT_EQ(tree(), before);
}

TEST_F(Prune, WhatComesBetweenTheVerdictAndTheRenamePutsItBack) {
  fs_.before_rename = [&] { overwrite(".stage-9", "an upload that has just begun"); };
  EXPECT_EQ(kept(), "it changed just now");
  EXPECT_EQ(on_disk("chunk_000001.m4s"), "media of chunk 1");
  EXPECT_EQ(on_disk(".stage-9"), "an upload that has just begun");
  std::filesystem::remove(file(".stage-9"));
  fs_.before_rename = [&] { overwrite("chunk_000001.m4s", "media of chunk 1"); };  // the same bytes, but touched
  EXPECT_EQ(kept(), "it changed just now");
  EXPECT_EQ(kept(), "");
}

// Whatever fails, and wherever it is killed: the recording is whole, or it was decided upon; the next run leaves
// nothing half.
TEST_F(Prune, BrokenOffAnywhereItIsWholeOrGoesWithTheNextRun) {
  std::filesystem::copy(directory_ / "store/studio-a", directory_ / "keep", std::filesystem::copy_options::recursive);
  const Tree whole = tree();
  for (const bool for_good : {true, false}) {
    for (std::size_t step = 0;; ++step) {
      ASSERT_LT(step, 100U);
      std::filesystem::remove_all(directory_ / "store/studio-a");
      std::filesystem::copy(directory_ / "keep", directory_ / "store/studio-a",
                            std::filesystem::copy_options::recursive);
      const std::string log_before = log_text();
      fs_.fail_at(step, EIO, for_good);
      const bool went_well = prune().has_value();
      const bool is_decided = log_text() != log_before;
      fs_.fail_at(SIZE_MAX, EIO);
      Tree now = tree();
      bool is_whole = now == whole;
      if (std::filesystem::exists(directory_ / "store/studio-a/001/.pruning-alice")) {
        std::filesystem::rename(directory_ / "store/studio-a/001/.pruning-alice", file(""));
        is_whole = tree() == whole;
        std::filesystem::rename(file(""), directory_ / "store/studio-a/001/.pruning-alice");
        EXPECT_TRUE(is_whole) << step;
      }
      EXPECT_TRUE(is_whole || is_decided) << step;
      options_.older_than_s = 7200;  // the next run only clears up
      EXPECT_TRUE(prune()) << step;
      options_.older_than_s = 1800;
      now = tree();
      EXPECT_TRUE(now == whole || !std::filesystem::exists(file(""))) << step;
      for (const auto& [path, bytes] : now) EXPECT_EQ(path.find(".prun"), std::string::npos) << step << ' ' << path;
      if (went_well && is_decided) break;
    }
  }
}

// A log that has no room as long as a chunk of the recording is there, under whatever name the directory has.
class FullFileSystem final : public WatchedFileSystem {
 public:
  using WatchedFileSystem::WatchedFileSystem;
  std::string take;  // the directory that the recording is in
  Result<std::unique_ptr<sys::File>> open_append(const std::string& path) override {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(take)) {
      if (entry.path().filename() == "chunk_000003.m4s") return fail(ErrorKind::no_space, "no room", ENOSPC);
    }
    return WatchedFileSystem::open_append(path);
  }
};

// Broken off at each step, too: the line comes late, and is never lost.
TEST_F(Prune, OnAFullStoreTheMediaGoesBeforeTheLine) {
  FullFileSystem full(directory_ / "store");
  full.take = directory_ / "store";
  control_log_.reset();
  std::filesystem::copy(directory_ / "store/studio-a", directory_ / "keep", std::filesystem::copy_options::recursive);
  const Tree whole = tree();
  for (std::size_t step = 0;; ++step) {
    ASSERT_LT(step, 100U);
    std::filesystem::remove_all(directory_ / "store/studio-a");
    std::filesystem::copy(directory_ / "keep", directory_ / "store/studio-a", std::filesystem::copy_options::recursive);
    std::filesystem::remove(directory_ / "audit.jsonl");
    std::ofstream(directory_ / "audit.jsonl").flush();
    full.take = directory_ / "empty";
    std::filesystem::create_directories(full.take);
    control_log_ = ControlLog::open(full, directory_ / "audit.jsonl", no_log()).value();
    full.take = directory_ / "store";
    options_.control_log = control_log_.get();
    fs_.fail_at(step, EIO, true);
    const bool went_well = prune().has_value();
    fs_.fail_at(SIZE_MAX, EIO);
    options_.older_than_s = 7200;  // the next run only clears up
    EXPECT_TRUE(prune()) << step;
    options_.older_than_s = 1800;
    const bool is_gone = !std::filesystem::exists(file(""));
    EXPECT_TRUE(is_gone || tree() == whole) << step;
    for (const auto& [path, bytes] : tree())
      EXPECT_EQ(path.find("/."), path.find("/.recording")) << step << ' ' << path;
    EXPECT_EQ(log_text().find(R"("event":"pruned")") != std::string::npos, is_gone) << step;
    EXPECT_EQ(log_text().find("\"recording\":\"" + recording_.id) != std::string::npos, is_gone) << step;
    if (went_well) {
      EXPECT_TRUE(is_gone);
      break;
    }
  }
}

TEST_F(Prune, TheServerTakesTheSameRecordingAgainAfterwards) {
  EXPECT_EQ(kept(), "");
  put_files(recording_);
  EXPECT_TRUE(audit(recording_, recording_.manifest).synced);
  EXPECT_EQ(kept(), "");
}

}  // namespace
}  // namespace mc::server
