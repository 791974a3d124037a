#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>

#include "base/clock.hpp"
#include "unit/upload_recording_fixture.hpp"
#include "unit/watched_file_system.hpp"

namespace mc::upload {
namespace {

using test::FakeAnswer;
using test::FakeRequest;
using test::MemoryServer;
using test::SmallRecording;
using test::Witness;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;

TEST_F(Upload, ClosedRecordingIsSyncedWithTheReceiptOnDisk) {
  closed_recording(5);
  const auto end = push();
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(*end, UploadEnd::synced);
  EXPECT_TRUE(has_receipt());
  EXPECT_EQ(server.held[kPath].size(), 7U);
  expect_equal();
  EXPECT_EQ(witness.at_end.chunks_sent, 5U);
  EXPECT_EQ(witness.uploads.size(), 6U);
}

TEST_F(Upload, OnlyWhatTheServerLacksIsSent) {
  closed_recording(5);
  server.bound[kPath] = test::kRecordingId;
  for (const char* name : {"init_001.mp4", "chunk_000001.m4s", "chunk_000002.m4s", "chunk_000004.m4s"}) {
    server.held[kPath][name] = test::read_text(recording.path(name));
  }
  ASSERT_TRUE(push());
  EXPECT_THAT(witness.uploads, UnorderedElementsAre("chunk_000003.m4s", "chunk_000005.m4s"));
}

TEST_F(Upload, ASecondRunAuditsAgainAndSendsNothing) {
  closed_recording(3);
  ASSERT_TRUE(push());
  server.puts.clear();
  ASSERT_EQ(*push(), UploadEnd::synced);
  EXPECT_THAT(server.puts, ElementsAre("manifest"));
}

TEST_F(Upload, ASecondRunFindsWhatTheServerLostSince) {
  closed_recording(3);
  ASSERT_TRUE(push());
  server.held[kPath].erase("chunk_000002.m4s");
  server.puts.clear();
  ASSERT_EQ(*push(), UploadEnd::synced);
  EXPECT_THAT(server.puts, ElementsAre("manifest", "chunk_000002.m4s", "manifest"));
}

TEST_F(Upload, OpenRecordingWithoutFollowIsNotSynced) {
  recording.add_chunk();
  const auto end = push();
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(*end, UploadEnd::still_open);
  EXPECT_EQ(server.audits, 0);
  EXPECT_FALSE(has_receipt());
  EXPECT_EQ(server.held[kPath].size(), 2U);
}

TEST_F(Upload, FollowedRecordingIsSentWhileItGrowsAndSyncedAtItsEnd) {
  recording.add_chunk();
  auto o = options();
  o.follow = Follow::yes;
  int chunks = 1;
  witness.on_uploaded = [&](const std::string& name) {
    if (name == wire::chunk_name({static_cast<std::uint32_t>(chunks)})) {
      if (++chunks <= 4) {
        recording.add_chunk();
      } else {
        recording.close();
      }
    }
  };
  const auto end = push(o);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(*end, UploadEnd::synced);
  expect_equal();
  EXPECT_TRUE(has_receipt());
}

TEST_F(Upload, FollowWaitsForADirectoryThatIsNotThereYet) {
  closed_recording(2);
  const std::string hidden = recording.directory() + ".later";
  std::filesystem::remove_all(hidden);
  std::filesystem::rename(recording.directory(), hidden);
  auto o = options();
  o.follow = Follow::yes;
  witness.on_ready = [&] { std::filesystem::rename(hidden, recording.directory()); };
  const auto end = push(o);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_TRUE(has_receipt());
}

TEST_F(Upload, NoSuchDirectoryIsSaidAtOnce) {
  const auto end = upload_recording(sys::real_file_system(), "/nonexistent", options(), witness, log);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::not_found);
}

TEST_F(Upload, EmptyRecordingIsAnError) {
  recording.close();
  const auto end = push();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::damaged);
  EXPECT_THAT(end.error().message, HasSubstr("is empty"));
}

TEST_F(Upload, NackIsAnsweredWithExactlyThoseFiles) {
  closed_recording(5);
  bool lost = false;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.target.ends_with("/manifest") && !std::exchange(lost, true)) {
      server.held[kPath].erase("chunk_000002.m4s");
      server.held[kPath]["chunk_000004.m4s"][0] ^= 1;
      server.puts.clear();
    }
    return std::nullopt;
  };
  ASSERT_TRUE(push());
  ASSERT_EQ(witness.nacks.size(), 1U);
  EXPECT_THAT(witness.nacks[0], ElementsAre(wire::AuditFault{"chunk_000002.m4s", "missing"},
                                            wire::AuditFault{"chunk_000004.m4s", "damaged"}));
  EXPECT_THAT(server.puts, UnorderedElementsAre("manifest", "chunk_000002.m4s", "chunk_000004.m4s", "manifest"));
  expect_equal();
}

TEST_F(Upload, ServerThatAsksForTheSameFileAgainAndAgainIsGivenUp) {
  closed_recording(2);
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.target.ends_with("/manifest")) server.held[kPath].erase("chunk_000001.m4s");
    return std::nullopt;
  };
  const auto end = push();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::refused);
  EXPECT_THAT(end.error().message, HasSubstr("chunk_000001.m4s"));
  EXPECT_EQ(server.audits, 5);
  EXPECT_FALSE(has_receipt());
}

TEST_F(Upload, TakenPathIsRebound) {
  closed_recording(3);
  server.bound[kPath] = std::string(32, 'f');
  server.bound["studio-a/001/alice~2"] = std::string(32, 'e');
  server.held[kPath]["init_001.mp4"] = test::read_text(recording.path("init_001.mp4"));  // alike, but not ours
  ASSERT_TRUE(push());
  EXPECT_TRUE(has_receipt());
  expect_equal("studio-a/001/alice~3");
  EXPECT_EQ(server.held["studio-a/001/alice~3"].size(), 5U);
  // And again: it finds its place.
  ASSERT_TRUE(push());
}

TEST_F(Upload, DamagedLocalFileIsNotSentAndTheRestIs) {
  closed_recording(3);
  std::string bytes = test::read_text(recording.path("chunk_000002.m4s"));
  bytes[500] ^= 1;
  test::write_text(recording.path("chunk_000002.m4s"), bytes);
  std::filesystem::remove(recording.path("chunk_000003.m4s"));
  const auto end = push();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::damaged);
  EXPECT_EQ(server.held[kPath].count("chunk_000001.m4s"), 1U);
  EXPECT_EQ(server.held[kPath].count("chunk_000002.m4s"), 0U);
  EXPECT_EQ(test::read_text(recording.path("chunk_000002.m4s")), bytes);
  EXPECT_THAT(said, testing::Contains(HasSubstr("chunk_000002.m4s")));
  EXPECT_THAT(said, testing::Contains(HasSubstr("chunk_000003.m4s")));
  EXPECT_FALSE(has_receipt());
}

TEST_F(Upload, DamagedLocalFileThatTheServerHoldsIsSaidAndDoesNotMatter) {
  closed_recording(3);
  server.bound[kPath] = test::kRecordingId;
  server.held[kPath]["chunk_000002.m4s"] = test::read_text(recording.path("chunk_000002.m4s"));
  test::write_text(recording.path("chunk_000002.m4s"), "rotten");
  ASSERT_TRUE(push());
  EXPECT_TRUE(has_receipt());
  EXPECT_THAT(witness.damaged_files, ElementsAre("chunk_000002.m4s"));
  EXPECT_THAT(said, ElementsAre(HasSubstr("chunk_000002.m4s")));
}

TEST_F(Upload, WithAReceiptOneByteOfALocalFileThatIsWrongIsSaid) {
  closed_recording(4);
  ASSERT_TRUE(push());
  EXPECT_THAT(witness.damaged_files, ElementsAre());
  for (const char* name : {"chunk_000001.m4s", "chunk_000003.m4s"}) {
    std::string bytes = test::read_text(recording.path(name));
    bytes[500] ^= 1;
    test::write_text(recording.path(name), bytes);
  }
  ASSERT_EQ(*push(), UploadEnd::synced);
  EXPECT_THAT(witness.damaged_files, UnorderedElementsAre("chunk_000001.m4s", "chunk_000003.m4s"));
  EXPECT_THAT(said, ElementsAre(HasSubstr("and 1 more")));
}

// A server with a closed manifest, and a power cut that leaves the guest with an open one or none: never.
TEST_F(Upload, TheManifestAndItsNameAreDurableBeforeItIsSent) {
  closed_recording(2);
  WatchedFileSystem fs(recording.directory());
  std::vector<std::string> before;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.method == "PUT" && request.target.ends_with("/manifest")) before = fs.take_log();
    return std::nullopt;
  };
  ASSERT_TRUE(upload_recording(fs, recording.directory(), options(), witness, log));
  EXPECT_THAT(before, IsSupersetOf({"sync_data manifest", "sync_directory "}));
}

TEST_F(Upload, DamagedManifestIsNeverSynced) {
  closed_recording(3);
  std::string text = recording.manifest();
  text[text.find("bytes=") + 6] ^= 1;
  recording.set_manifest(text);
  const auto end = push();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::damaged);
  EXPECT_EQ(server.audits, 0);
}

TEST_F(Upload, ManifestThatChangesBehindUsIsDamaged) {
  recording.add_chunk();
  auto o = options();
  o.follow = Follow::yes;
  witness.on_uploaded = [&](const std::string& name) {
    if (name == "chunk_000001.m4s") recording.set_manifest(recording.manifest().substr(0, 100));
  };
  const auto end = push(o);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::damaged);
}

TEST_F(Upload, PinnedKeyMustBeTheReceiptsKey) {
  closed_recording(2);
  auto o = options();
  o.keys = {*(*digest::PrivateKey::generate()).public_key()};
  const auto end = push(o);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::refused);
  EXPECT_FALSE(has_receipt());
  o.keys.push_back(server.public_key());
  ASSERT_TRUE(push(o));
  EXPECT_TRUE(has_receipt());
}

TEST_F(Upload, ForgedReceiptsAreNotKept) {
  closed_recording(2);
  for (const char* lie : {"root ", "chunks ", "bytes ", "signature ", "recording ", "manifest "}) {
    server.hook = [&, inside = false](const FakeRequest& request) mutable -> std::optional<FakeAnswer> {
      if (inside || !request.target.ends_with("/manifest")) return std::nullopt;
      // An honest answer of a twin, changed in one place.
      FakeAnswer answer{.content_type = "application/json"};
      wire::AuditAnswer audit{true, true, {}, {}};
      const auto loaded = *spool::load_manifest(sys::real_file_system(), recording.directory());
      wire::Receipt receipt;
      receipt.recording_id = loaded.manifest.recording_id;
      receipt.path = *loaded.manifest.path;
      receipt.root = loaded.manifest.end->root;
      receipt.manifest_sha256 = digest::sha256_hex(loaded.bytes);
      receipt.files = 3;
      receipt.chunks = 2;
      receipt.bytes = 1;
      receipt.key_fingerprint = server.public_key().fingerprint();
      receipt.signature_base64 = digest::to_base64(ByteBuffer(64, 7));
      audit.receipt = wire::format_receipt(receipt);
      audit.receipt[audit.receipt.find(lie) + std::string_view(lie).size()] = '5';
      answer.body = wire::format_audit_answer(audit);
      return answer;
    };
    const auto end = push();
    ASSERT_FALSE(end) << lie;
    EXPECT_EQ(end.error().kind, ErrorKind::protocol) << end.error().message;
    EXPECT_FALSE(has_receipt());
  }
}

TEST_F(Upload, ConflictBeforeTheAuditIsLeftToTheAudit) {
  closed_recording(3);
  bool audited = false;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.target.ends_with("/manifest")) audited = true;
    if (request.method == "PUT" && request.target.ends_with("chunk_000002.m4s") && !audited) {
      return MemoryServer::problem(409, "conflict", "other bytes are held under this name");
    }
    return std::nullopt;
  };
  ASSERT_TRUE(push());
  expect_equal();
}

TEST_F(Upload, DeadlineEndsItAndSaysWhatItWaitedFor) {
  closed_recording(2);
  server.http().stop();
  auto o = options();
  o.deadline_ns = system_clock().monotonic_ns() + 300'000'000'000;
  witness.on_waiting = [&] { o.deadline_ns = system_clock().monotonic_ns(); };
  const auto end = push(o);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::unavailable);
  EXPECT_THAT(end.error().message, HasSubstr("deadline"));
  EXPECT_THAT(end.error().message, HasSubstr("cannot get"));
}

TEST_F(Upload, StopEndsARunningTransfer) {
  closed_recording(2);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const sys::Fd read_end(ends[0]);
  const sys::Fd write_end(ends[1]);
  server.hook = [&](const FakeRequest&) -> std::optional<FakeAnswer> {
    EXPECT_EQ(::write(write_end.get(), "s", 1), 1);
    return FakeAnswer{.fate = FakeAnswer::Fate::hang};
  };
  auto o = options();
  o.stop_fd = read_end.get();
  const auto end = push(o);
  server.http().stop();  // its threads write to the pipe, which goes first
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().sys_errno, EINTR);
}

TEST_F(Upload, AWrongReceiptOnDiskIsPutAsideNotBelievedNotDeleted) {
  closed_recording(2);
  const std::string name = "receipt-" + server.public_key().fingerprint();
  test::write_text(recording.path(name), "I promise\n");
  ASSERT_TRUE(push());
  EXPECT_THAT(test::read_text(recording.path(name)), HasSubstr("maycast-receipt 1"));
  bool kept = false;
  for (const auto& entry : std::filesystem::directory_iterator(recording.directory())) {
    kept = kept || test::read_text(entry.path()) == "I promise\n";
  }
  EXPECT_TRUE(kept);
}

}  // namespace
}  // namespace mc::upload
