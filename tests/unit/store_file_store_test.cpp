#include <algorithm>
#include <fstream>
#include <span>

#include "store/file_store.hpp"
#include "store/open_store.hpp"
#include "unit/scratch_directory.hpp"
#include "unit/store_conformance.hpp"
#include "unit/watched_file_system.hpp"

namespace mc::store {
namespace {

class FileStoreUnderTest {
 public:
  FileStoreUnderTest() { reopen(); }
  Store& store() { return *store_; }
  void reopen() {
    store_.reset();
    store_ = FileStore::open(sys::real_file_system(), directory_ / "store", no_log()).value();
  }

 private:
  ScratchDirectory directory_;
  std::unique_ptr<FileStore> store_;
};
INSTANTIATE_TYPED_TEST_SUITE_P(Files, StoreConformance, FileStoreUnderTest);

class FileStoreTest : public ::testing::Test {
 protected:
  FileStoreTest() : fs_(directory_ / "store") { open(); }
  void open() {
    store_.reset();
    store_ = FileStore::open(fs_, directory_ / "store", no_log()).value();
  }
  Result<PutOutcome> put(const std::string& name, std::string_view text) {
    MC_TRY_ASSIGN(const auto staged, store_->stage(kAlice, name));
    MC_TRY(staged->write(as_bytes(text)));
    return staged->publish(OnConflict::quarantine);
  }
  std::string file(const std::string& name) { return directory_ / ("store/studio-a/001/alice/" + name); }
  // Everything below the store but what belongs to the store itself.
  std::vector<std::string> tree() {
    std::vector<std::string> found;
    const std::filesystem::path root(directory_ / "store");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (entry.path().filename() != ".lock") found.push_back(entry.path().lexically_relative(root).string());
    }
    std::ranges::sort(found);
    return found;
  }

  ScratchDirectory directory_;
  WatchedFileSystem fs_;
  std::unique_ptr<FileStore> store_;
};

TEST_F(FileStoreTest, DirectoriesThatSomebodyTookAwayAreMadeAnewDurably) {
  const std::string root = directory_ / "store";
  for (const char* gone : {"/studio-a/001/alice", "/studio-a/001", "/studio-a"}) {
    ASSERT_EQ(put(kChunk, "media"), PutOutcome::created) << gone;
    std::filesystem::remove_all(root + gone);
  }
  fs_.take_log();
  ASSERT_EQ(put(kChunk, "media"), PutOutcome::created);
  const auto log = fs_.take_log();
  for (const char* parent : {"sync_directory ", "sync_directory studio-a", "sync_directory studio-a/001"}) {
    EXPECT_EQ(std::ranges::count(log, parent), 1) << parent;
  }
}

TEST_F(FileStoreTest, EverythingIsSyncedBeforeTheAnswer) {
  fs_.take_log();
  ASSERT_EQ(put(kChunk, "media"), PutOutcome::created);
  EXPECT_EQ(fs_.take_log(),
            (std::vector<std::string>{
                "make_directory studio-a", "sync_directory ", "make_directory studio-a/001", "sync_directory studio-a",
                "make_directory studio-a/001/alice", "sync_directory studio-a/001",
                "create studio-a/001/alice/.stage-1", "write studio-a/001/alice/.stage-1",
                "sync_data studio-a/001/alice/.stage-1", "close studio-a/001/alice/.stage-1",
                "rename_new studio-a/001/alice/chunk_000001.m4s", "sync_directory studio-a/001/alice"}));
}

TEST_F(FileStoreTest, LaterFilesNeedNoDirectories) {
  (void)put(kChunk, "media");
  fs_.take_log();
  (void)put("chunk_000002.m4s", "media");
  EXPECT_EQ(fs_.take_log().size(), 6U);
}

TEST_F(FileStoreTest, DirectoriesOfAnEarlierRunAreSyncedAgain) {
  (void)put(kChunk, "media");
  open();
  fs_.take_log();
  (void)put("chunk_000002.m4s", "media");
  const auto log = fs_.take_log();
  EXPECT_NE(std::ranges::find(log, "sync_directory studio-a/001"), log.end());
}

TEST_F(FileStoreTest, SameBytesAreSyncedBeforeTheyAreAnsweredFor) {
  (void)put(kChunk, "media");
  fs_.take_log();
  ASSERT_EQ(put(kChunk, "media"), PutOutcome::same);
  const auto log = fs_.take_log();
  EXPECT_NE(std::ranges::find(log, "sync_data studio-a/001/alice/chunk_000001.m4s"), log.end());
  EXPECT_NE(std::ranges::find(log, "sync_directory studio-a/001/alice"), log.end());
}

// Each operation in turn fails, once and for good: the answer is an error, the name is absent or whole, no stage is
// left (unless even removing fails), and with the failure gone the same upload succeeds.
TEST_F(FileStoreTest, AnyFailureLeavesAllOrNothing) {
  for (const int error : {ENOSPC, EIO}) {
    for (const bool for_good : {false, true}) {
      for (std::size_t n = 0; n < 12; ++n) {
        const auto trace = testing::Message() << "error " << error << " at " << n << (for_good ? " for good" : "");
        SCOPED_TRACE(trace);
        std::filesystem::remove_all(directory_ / "store");
        open();
        fs_.fail_at(n, error, for_good);
        const auto outcome = put(kChunk, "media");
        fs_.fail_at(0, 0);
        ASSERT_FALSE(outcome);
        EXPECT_EQ(outcome.error().sys_errno, error);
        for (const std::string& name : tree()) {
          EXPECT_TRUE(for_good || name.find(".stage-") == std::string::npos) << name;
        }
        if (const auto object = store_->open(kAlice, kChunk)) {
          EXPECT_EQ(as_text(read_object(**object, 100).value()), "media");
        }
        ASSERT_TRUE(put(kChunk, "media"));
        open();
        EXPECT_EQ(as_text(read_object(*store_->open(kAlice, kChunk).value(), 100).value()), "media");
        for (const std::string& name : tree()) EXPECT_EQ(name.find(".stage-"), std::string::npos) << name;
      }
    }
  }
}

// Of the document the same: after any failure the old or the new one, whole; and no stage that outlives a restart.
TEST_F(FileStoreTest, AnyFailureOfASwapLeavesTheOldOrTheNewDocument) {
  for (const bool for_good : {false, true}) {
    for (std::size_t n = 0; n < 8; ++n) {
      SCOPED_TRACE(testing::Message() << "at " << n << (for_good ? " for good" : ""));
      std::filesystem::remove_all(directory_ / "store");
      open();
      ASSERT_TRUE(store_->swap_document("studio-a", std::nullopt, "old").value());
      const std::string token = store_->read_document("studio-a").value()->token;
      fs_.fail_at(n, EIO, for_good);
      const auto swapped = store_->swap_document("studio-a", token, "new");
      fs_.fail_at(0, 0);
      EXPECT_TRUE(swapped.value_or(true)) << "nobody else swaps";
      open();
      const std::string text = store_->read_document("studio-a").value()->text;
      EXPECT_TRUE(text == "new" || (text == "old" && !swapped)) << text;
      for (const std::string& name : tree()) EXPECT_EQ(name.find(".stage-"), std::string::npos) << name;
    }
  }
}

TEST_F(FileStoreTest, ADocumentIsDurableBeforeAnybodyIsToldOfIt) {
  fs_.take_log();
  ASSERT_TRUE(store_->swap_document("studio-a", std::nullopt, "one").value());
  EXPECT_EQ(fs_.take_log(), (std::vector<std::string>{
                                "make_directory studio-a", "sync_directory ", "remove studio-a/.stage-1",
                                "create studio-a/.stage-1", "write studio-a/.stage-1", "sync studio-a/.stage-1",
                                "close studio-a/.stage-1", "rename studio-a/.session", "sync_directory studio-a"}));
  ASSERT_TRUE(store_->read_document("studio-a").value());
  EXPECT_EQ(fs_.take_log(), std::vector<std::string>{}) << "known to be durable";
  open();
  fs_.take_log();
  ASSERT_TRUE(store_->read_document("studio-a").value());
  EXPECT_EQ(fs_.take_log(), (std::vector<std::string>{"sync_directory ", "sync_directory studio-a"}))
      << "whoever wrote it may have died before the sync";
}

TEST_F(FileStoreTest, RefusedFirstUploadLeavesNoDirectory) {
  { const auto staged = store_->stage(kAlice, kChunk).value(); }
  EXPECT_EQ(tree(), std::vector<std::string>{});
}

TEST_F(FileStoreTest, StagesOfADeadServerAreDiscardedAndNothingElse) {
  (void)put(kChunk, "media");
  std::ofstream(file(".stage-7")) << "half";
  std::ofstream(file(".conflict-chunk_000001.m4s-0011223344556677")) << "other";
  std::ofstream(file("notes.txt")) << "mine";
  open();
  EXPECT_FALSE(std::filesystem::exists(file(".stage-7")));
  EXPECT_TRUE(std::filesystem::exists(file(kChunk)));
  EXPECT_TRUE(std::filesystem::exists(file("notes.txt")));
  EXPECT_TRUE(std::filesystem::exists(file(".conflict-chunk_000001.m4s-0011223344556677")));
}

TEST_F(FileStoreTest, SecondServerOnTheSameRootIsRefused) {
  const auto second = FileStore::open(sys::real_file_system(), directory_ / "store", no_log());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::unavailable);
}

TEST_F(FileStoreTest, RootIsMadeDurably) {
  WatchedFileSystem fs(directory_.path());
  const auto store = FileStore::open(fs, directory_ / "a/b/c", no_log());
  ASSERT_TRUE(store);
  // In front of this stand the directories above, which are there already.
  const auto log = fs.take_log();
  const std::vector<std::string> want{"make_directory a", "sync_directory ",      "make_directory a/b",
                                      "sync_directory a", "make_directory a/b/c", "sync_directory a/b"};
  ASSERT_GE(log.size(), want.size());
  EXPECT_TRUE(std::ranges::equal(std::span(log).last(want.size()), want)) << testing::PrintToString(log);
}

TEST_F(FileStoreTest, DirectoryInTheWayOfAFileIsNotAFile) {
  (void)put("init_001.mp4", "x");
  std::filesystem::create_directory(file(kChunk));
  EXPECT_FALSE(store_->open(kAlice, kChunk));
  EXPECT_EQ(store_->list(kAlice).value().size(), 1U);
  EXPECT_FALSE(put(kChunk, "media"));
}

TEST_F(FileStoreTest, SymbolicLinkIsNotFollowed) {
  (void)put("init_001.mp4", "x");
  std::filesystem::create_symlink("/etc/passwd", file(kChunk));
  EXPECT_FALSE(store_->open(kAlice, kChunk));
}

TEST_F(FileStoreTest, TokenChangesWithTheBytesThoughNameAndSizeStay) {
  (void)put(kChunk, "media");
  const std::string before = store_->open(kAlice, kChunk).value()->info().token;
  // Another file of the same size under the name, as `cp` or an editor would leave it.
  std::ofstream(file("other")) << "MEDIA";
  std::filesystem::rename(file("other"), file(kChunk));
  EXPECT_NE(store_->open(kAlice, kChunk).value()->info().token, before);
}

TEST_F(FileStoreTest, TokenIsNotSettledRightAfterAChange) {
  (void)put(kChunk, "media");
  EXPECT_FALSE(store_->open(kAlice, kChunk).value()->info().settled);
}

TEST(OpenStore, KnowsFilesOnly) {
  ScratchDirectory directory;
  EXPECT_TRUE(open_store("file:" + directory / "store", no_log()));
  for (const char* where : {"", "file:", "data", "s4://bucket", "FILE:x"}) {
    const auto opened = open_store(where, no_log());
    ASSERT_FALSE(opened) << where;
    EXPECT_EQ(opened.error().kind, ErrorKind::usage);
  }
}

}  // namespace
}  // namespace mc::store
