#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "store/group_commit.hpp"
#include "unit/scratch_directory.hpp"
#include "unit/watched_file_system.hpp"

namespace mc::store {
namespace {

// Each fsync of a directory begins, and ends when the test says so.
class HeldSyncs {
 public:
  Status sync(const std::string& directory) {
    std::unique_lock lock(mutex_);
    began_.push_back(directory);
    changed_.notify_all();
    changed_.wait(lock, [&] { return !results_.empty(); });
    Status result = std::move(results_.front());
    results_.pop_front();
    return result;
  }
  void wait_for(std::size_t syncs) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return began_.size() >= syncs; });
  }
  void end(Status result = {}) {
    const std::lock_guard lock(mutex_);
    results_.push_back(std::move(result));
    changed_.notify_all();
  }
  std::size_t began() {
    const std::lock_guard lock(mutex_);
    return began_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> began_;
  std::deque<Status> results_;
};

class HeldFileSystem final : public WatchedFileSystem {
 public:
  explicit HeldFileSystem(HeldSyncs& syncs) : WatchedFileSystem("/"), syncs_(syncs) {}
  Status sync_directory(const std::string& path) override { return syncs_.sync(path); }

 private:
  HeldSyncs& syncs_;
};

class GroupCommitTest : public ::testing::Test {
 protected:
  std::thread commit(const std::string& directory, Status& into) {
    return std::thread([this, directory, &into] { into = commits_.commit(directory); });
  }
  void wait_until_asked(std::uint64_t n) {
    while (commits_.counts().asked < n) std::this_thread::yield();
  }

  HeldSyncs syncs_;
  HeldFileSystem fs_{syncs_};
  GroupCommit commits_{fs_};
};

TEST_F(GroupCommitTest, OneSyncAnswersAllThatWaitForIt) {
  Status first = fail(ErrorKind::bug, ""), later[5];
  std::thread leader = commit("d", first);
  syncs_.wait_for(1);
  std::vector<std::thread> others;
  for (Status& status : later) {
    status = fail(ErrorKind::bug, "");
    others.push_back(commit("d", status));
  }
  wait_until_asked(6);
  EXPECT_EQ(syncs_.began(), 1U);  // nobody is answered by the one that runs
  syncs_.end();
  leader.join();
  EXPECT_TRUE(first);
  syncs_.wait_for(2);
  syncs_.end();
  for (std::thread& thread : others) thread.join();
  for (const Status& status : later) EXPECT_TRUE(status);
  EXPECT_EQ(syncs_.began(), 2U);
  EXPECT_EQ(commits_.counts().asked, 6U);
  EXPECT_EQ(commits_.counts().synced, 2U);
}

TEST_F(GroupCommitTest, FailureIsGivenToAllThatWaitedForItAndToNobodyElse) {
  Status first = fail(ErrorKind::bug, ""), later[3];
  std::thread leader = commit("d", first);
  syncs_.wait_for(1);
  std::vector<std::thread> others;
  for (Status& status : later) others.push_back(commit("d", status));
  wait_until_asked(4);
  syncs_.end();
  syncs_.wait_for(2);
  syncs_.end(fail(ErrorKind::io, "broken", EIO));
  leader.join();
  for (std::thread& thread : others) thread.join();
  EXPECT_TRUE(first);
  for (const Status& status : later) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().sys_errno, EIO);
  }
  syncs_.end();
  EXPECT_TRUE(commits_.commit("d"));
}

TEST_F(GroupCommitTest, DirectoriesDoNotWaitForEachOther) {
  Status a, b;
  std::thread one = commit("a", a);
  syncs_.wait_for(1);
  std::thread two = commit("b", b);
  syncs_.wait_for(2);  // although the first has not ended
  syncs_.end();
  syncs_.end();
  one.join();
  two.join();
  EXPECT_EQ(syncs_.began(), 2U);
}

}  // namespace
}  // namespace mc::store
