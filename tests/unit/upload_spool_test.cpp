// A whole spool: several recordings at once, those that appear later, those that nobody goes on with.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "base/clock.hpp"
#include "unit/scratch_directory.hpp"
#include "unit/upload_fixture.hpp"
#include "unit/watched_file_system.hpp"
#include "upload/uploader.hpp"

namespace mc::upload {
namespace {

using test::FakeAnswer;
using test::FakeRequest;
using test::MemoryServer;
using test::SmallRecording;
using test::Witness;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class Spool : public testing::Test {
 protected:
  Spool() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read_end_ = sys::Fd(ends[0]);
    write_end_ = sys::Fd(ends[1]);
  }
  UploadOptions options(Follow follow) {
    UploadOptions o;
    o.base_url = server.url();
    o.follow = follow;
    o.parallel = 3;
    o.backoff = {.base_ms = 1, .cap_ms = 5, .floor_ms = 1};
    o.deadline_ns = system_clock().monotonic_ns() + 300'000'000'000;
    o.stop_fd = read_end_.get();
    return o;
  }
  // To be called from a witness: a spool that is followed has no end of its own.
  void stop() { EXPECT_EQ(::write(write_end_.get(), "s", 1), 1); }
  UploadSummary push(const UploadOptions& o) {
    const auto all = upload(sys::real_file_system(), root(), o, witness, log);
    EXPECT_TRUE(all) << all.error().message;
    return all.value_or(UploadSummary{});
  }
  // Stopped before everything was Synced.
  void push_until_stopped(const UploadOptions& o) {
    const auto end = upload(sys::real_file_system(), root(), o, witness, log);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().kind, ErrorKind::unavailable);
    EXPECT_NE(end.error().sys_errno, EINTR) << "a spool has an answer";
  }

  std::string root() const { return directory_ / "spool"; }
  std::string directory(const std::string& guest) const { return root() + "/studio-a/001/" + guest; }
  SmallRecording& add(const std::string& guest) {
    const std::string id(32, static_cast<char>('a' + recordings_.size() % 6));
    const auto made =
        recordings_.emplace(guest, SmallRecording(directory(guest), id, wire::RecordingPath{"studio-a", "001", guest}));
    return made.first->second;
  }
  SmallRecording& add_closed(const std::string& guest, int chunks) {
    SmallRecording& recording = add(guest);
    for (int i = 0; i < chunks; ++i) recording.add_chunk();
    recording.close();
    return recording;
  }
  void expect_synced(const std::string& guest) {
    EXPECT_TRUE(std::filesystem::exists(directory(guest) + "/receipt-" + server.public_key().fingerprint())) << guest;
    for (const auto& [name, bytes] : server.held["studio-a/001/" + guest]) {
      EXPECT_EQ(bytes, test::read_text(directory(guest) + "/" + name)) << guest << "/" << name;
    }
  }

  ScratchDirectory directory_;
  sys::Fd read_end_, write_end_;
  std::map<std::string, SmallRecording> recordings_;
  MemoryServer server;
  Witness witness;
  std::vector<std::string> said;
  Log log = [this](LogLevel level, std::string_view text) {
    if (level >= LogLevel::warning) said.emplace_back(text);
  };
};

TEST_F(Spool, WithoutFollowEverythingIsSentAndThatIsTheEnd) {
  for (const char* guest : {"alice", "bob", "carol"}) add_closed(guest, 3);
  add("dave").add_chunk();
  const auto all = upload(sys::real_file_system(), root(), options(Follow::no), witness, log);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->recordings, 4U);
  EXPECT_EQ(all->synced, 3U);
  EXPECT_EQ(all->still_open, 1U);
  EXPECT_EQ(all->failed, 0U);
  for (const char* guest : {"alice", "bob", "carol"}) expect_synced(guest);
  EXPECT_EQ(server.held["studio-a/001/dave"].size(), 2U);
}

TEST_F(Spool, OneThatFailsIsNamedAndTheOthersAreSent) {
  add_closed("alice", 2);
  add_closed("bob", 2);
  std::filesystem::remove(directory("alice") + "/chunk_000001.m4s");
  server.hook = [](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.target.find("/carol/") == std::string::npos) return std::nullopt;
    return MemoryServer::problem(403, "not-allowed", "not what the token is for");
  };
  add_closed("carol", 2);
  const auto all = upload(sys::real_file_system(), root(), options(Follow::no), witness, log);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->failed, 2U);
  EXPECT_EQ(all->synced, 1U);
  EXPECT_THAT(witness.failures, UnorderedElementsAre(directory("alice"), directory("carol")));
  EXPECT_THAT(said, Contains(HasSubstr("'" + directory("carol") + "': ")));
  expect_synced("bob");
}

// Neither waits for the other: each is closed only when the other one's chunks have arrived.
TEST_F(Spool, SeveralRecordingsAreFollowedAtOnce) {
  add("alice").add_chunk();
  add("bob").add_chunk();
  int rounds = 0;
  witness.on_uploaded = [&](const std::string&) {
    const std::size_t wanted = 2 + static_cast<std::size_t>(rounds);
    if (server.files_of("studio-a/001/alice") < wanted || server.files_of("studio-a/001/bob") < wanted) return;
    ++rounds;
    for (const char* guest : {"alice", "bob"}) {
      rounds < 5 ? recordings_.at(guest).add_chunk() : recordings_.at(guest).close();
    }
  };
  witness.on_synced = [&](const std::string&) {
    if (witness.synced_ones.size() == 2) stop();
  };
  EXPECT_EQ(push(options(Follow::yes)).synced, 2U);
  EXPECT_THAT(witness.synced_ones, UnorderedElementsAre(directory("alice"), directory("bob")));
  expect_synced("alice");
  expect_synced("bob");
  EXPECT_EQ(witness.started_ones.size(), 2U);
}

TEST_F(Spool, OneThatAppearsLaterIsTakenUp) {
  int appeared = 0;
  const auto appear = [&] { add_closed("guest-" + std::to_string(++appeared), 2); };
  witness.on_ready = appear;  // there was no spool at all
  witness.on_synced = [&](const std::string&) { appeared < 4 ? appear() : stop(); };
  EXPECT_EQ(push(options(Follow::yes)).synced, 4U);
  EXPECT_EQ(witness.readies, 1);
  ASSERT_EQ(witness.synced_ones.size(), 4U);
  for (int n = 1; n <= 4; ++n) expect_synced("guest-" + std::to_string(n));
}

TEST_F(Spool, OfABacklogOnlyAFewAreLookedAfterAtATime) {
  for (int n = 0; n < 12; ++n) add_closed("guest-" + std::to_string(n), 2);
  std::size_t most = 0;
  const auto count = [&] { most = std::max(most, witness.started_ones.size() - witness.synced_ones.size()); };
  witness.on_uploaded = [&](const std::string&) { count(); };
  const auto all = upload(sys::real_file_system(), root(), options(Follow::no), witness, log);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->synced, 12U);
  EXPECT_LE(most, 3U);
  EXPECT_GE(most, 2U) << "one after the other";
}

TEST_F(Spool, AnOpenOneThatNobodyGoesOnWithIsLetGoOfAndTakenUpAgainWhenSomebodyDoes) {
  SmallRecording& recording = add("alice");
  recording.add_chunk();
  add_closed("bob", 1);
  auto o = options(Follow::yes);
  o.let_go_ns = 1'000'000;
  const Log everything = [&](LogLevel, std::string_view text) {
    if (text.find("nothing happens") == std::string_view::npos) return;
    if (witness.started_ones.size() > 4) return;
    // It was let go of: now it goes on.
    recording.add_chunk();
    if (witness.started_ones.size() == 4) recording.close();
  };
  witness.on_synced = [&](const std::string& directory) {
    if (directory.ends_with("alice")) stop();
  };
  const auto all = upload(sys::real_file_system(), root(), o, witness, everything);
  ASSERT_TRUE(all) << all.error().message;
  expect_synced("alice");
  EXPECT_GE(std::ranges::count(witness.started_ones, directory("alice")), 3);
}

TEST_F(Spool, OneThatFailedIsTriedAgainWhenItsManifestChanges) {
  SmallRecording& recording = add("alice");
  recording.add_chunk();
  const std::string manifest = recording.manifest();
  recording.set_manifest(manifest + "nonsense\n");
  recording.close();
  witness.on_failed = [&](const std::string&) {
    recording.set_manifest(manifest);
    recording.close();
  };
  witness.on_synced = [&](const std::string&) { stop(); };
  EXPECT_FALSE(push(options(Follow::yes)).first_error);
  EXPECT_THAT(witness.failures, ElementsAre(directory("alice")));
  expect_synced("alice");
}

TEST_F(Spool, OneThatIsRemovedMeanwhileIsNotInTheWayOfTheOthers) {
  add("alice").add_chunk();
  add("bob").add_chunk();
  witness.on_uploaded = [&](const std::string&) {
    if (witness.uploads.size() == 4) {
      std::filesystem::remove_all(directory("alice"));
      recordings_.at("bob").close();
    }
  };
  witness.on_synced = [&](const std::string&) {
    if (!witness.failures.empty()) stop();
  };
  witness.on_failed = [&](const std::string&) {
    if (!witness.synced_ones.empty()) stop();
  };
  EXPECT_EQ(push(options(Follow::yes)).synced, 1U) << "what was removed is nobody's any more";
  EXPECT_THAT(witness.failures, ElementsAre(directory("alice")));
  expect_synced("bob");
}

TEST_F(Spool, OneThatIsSyncedWithThatServerCostsNoRequest) {
  add_closed("alice", 2);
  add_closed("bob", 2);
  ASSERT_EQ(push(options(Follow::no)).synced, 2U);
  std::vector<std::string> targets;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    targets.push_back(request.target);
    return std::nullopt;
  };
  EXPECT_EQ(push(options(Follow::no)).synced, 2U);
  EXPECT_THAT(targets, Each(std::string("/v1/key")));
  EXPECT_LE(targets.size(), 2U);
  auto pinned = options(Follow::no);
  pinned.keys = {server.public_key()};
  EXPECT_EQ(push(pinned).synced, 2U);
  EXPECT_THAT(targets, Each(std::string("/v1/key")));
}

TEST_F(Spool, AReceiptOfAnotherServerIsNone) {
  add_closed("alice", 2);
  MemoryServer other;
  auto o = options(Follow::no);
  o.base_url = other.url();
  ASSERT_EQ(push(o).synced, 1U);
  ASSERT_TRUE(server.held.empty());
  ASSERT_EQ(push(options(Follow::no)).synced, 1U);
  expect_synced("alice");
  EXPECT_TRUE(std::filesystem::exists(directory("alice") + "/receipt-" + other.public_key().fingerprint()));
}

TEST_F(Spool, AReceiptThatIsNotTrueOfTheManifestIsNone) {
  add_closed("alice", 2);
  add_closed("bob", 2);
  ASSERT_EQ(push(options(Follow::no)).synced, 2U);
  const std::string name = "/receipt-" + server.public_key().fingerprint();
  std::filesystem::copy_file(directory("bob") + name, directory("alice") + name,
                             std::filesystem::copy_options::overwrite_existing);
  server.held.clear();
  ASSERT_EQ(push(options(Follow::no)).synced, 2U);
  EXPECT_EQ(server.held["studio-a/001/alice"].size(), 4U);
  EXPECT_NE(test::read_text(directory("alice") + name), test::read_text(directory("bob") + name));
}

TEST_F(Spool, WithAReceiptAFileThatIsNotThereOrHasAnotherLengthIsSaid) {
  add_closed("alice", 3);
  ASSERT_EQ(push(options(Follow::no)).synced, 1U);
  std::filesystem::remove(directory("alice") + "/chunk_000001.m4s");
  std::filesystem::resize_file(directory("alice") + "/chunk_000003.m4s", 7);
  EXPECT_EQ(push(options(Follow::no)).synced, 1U);
  EXPECT_THAT(witness.damaged_files, ElementsAre("chunk_000001.m4s", "chunk_000003.m4s"));
  EXPECT_THAT(said, ElementsAre(HasSubstr("and 1 more")));
}

TEST_F(Spool, StoppedBeforeEverythingIsSyncedItSaysSo) {
  add("alice").add_chunk();
  add_closed("bob", 1);
  witness.on_synced = [&](const std::string&) { stop(); };
  push_until_stopped(options(Follow::yes));
}

TEST_F(Spool, WithNothingInItEverythingIsSynced) {
  std::filesystem::create_directories(root());
  witness.on_ready = [&] { stop(); };
  EXPECT_EQ(push(options(Follow::yes)).recordings, 0U);
}

TEST_F(Spool, RecordingsAreFoundAtAnyDepth) {
  const std::string deep = root() + "/1/2/3/4/5/6/7";
  SmallRecording recording(deep, std::string(32, 'd'), {"studio-a", "001", "deep"});
  recording.add_chunk();
  recording.close();
  add_closed("alice", 1);
  const auto all = push(options(Follow::no));
  EXPECT_EQ(all.synced, 2U);
}

TEST_F(Spool, ADirectoryThatCannotBeReadIsSaidAndTheOthersAreSent) {
  struct Unreadable final : WatchedFileSystem {
    using WatchedFileSystem::WatchedFileSystem;
    Result<std::vector<sys::DirectoryEntry>> list(const std::string& path) override {
      if (path.ends_with("/002")) return fail(sys::errno_error(EIO, "cannot list '" + path + "'"));
      return WatchedFileSystem::list(path);
    }
  } fs(root());
  add_closed("alice", 1);
  std::filesystem::create_directories(root() + "/studio-a/002");
  const auto all = upload(fs, root(), options(Follow::no), witness, log);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->synced, 1U);
  EXPECT_EQ(all->failed, 1U);
  EXPECT_THAT(witness.failures, ElementsAre(root() + "/studio-a/002"));
}

TEST_F(Spool, TheServerGoesAwayAndComesBackForAllOfThem) {
  add("alice").add_chunk();
  add("bob").add_chunk();
  std::atomic<bool> is_away = false;
  server.hook = [&](const FakeRequest&) -> std::optional<FakeAnswer> {
    if (is_away) return FakeAnswer{.status = 503};
    return std::nullopt;
  };
  witness.on_uploaded = [&](const std::string&) {
    if (witness.uploads.size() != 4) return;
    is_away = true;
    for (const char* guest : {"alice", "bob"}) {
      recordings_.at(guest).add_chunk();
      recordings_.at(guest).close();
    }
  };
  witness.on_waiting = [&] { is_away = false; };
  witness.on_synced = [&](const std::string&) {
    if (witness.synced_ones.size() == 2) stop();
  };
  EXPECT_EQ(push(options(Follow::yes)).synced, 2U);
  EXPECT_EQ(witness.waits.size(), 1U);
  expect_synced("alice");
  expect_synced("bob");
}

}  // namespace
}  // namespace mc::upload
