#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>

#include "base/clock.hpp"
#include "unit/upload_fixture.hpp"
#include "upload/uploader.hpp"

namespace mc::upload {
namespace {

using test::FakeAnswer;
using test::FakeRequest;
using test::MemoryServer;
using test::SmallRecording;
using test::Witness;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

constexpr char kPath[] = "studio-a/001/alice";

class Upload : public testing::Test {
 protected:
  Upload()
      : recording(testing::TempDir() + "upload_" + testing::UnitTest::GetInstance()->current_test_info()->name()) {}

  UploadOptions options() const {
    UploadOptions o;
    o.base_url = server.url();
    o.parallel = 3;
    o.backoff = {.base_ms = 1, .cap_ms = 5, .floor_ms = 1};
    return o;
  }
  Result<UploadEnd> push(const UploadOptions& o) {
    return upload_recording(sys::real_file_system(), recording.directory(), o, witness, log);
  }
  Result<UploadEnd> push() { return push(options()); }
  void closed_recording(int chunks) {
    for (int i = 0; i < chunks; ++i) recording.add_chunk();
    recording.close();
  }
  bool has_receipt() const {
    return std::filesystem::exists(recording.path("receipt-" + server.public_key().fingerprint()));
  }
  // Everything of the recording is at the server, byte for byte.
  void expect_equal(const std::string& path = kPath) {
    for (const auto& [name, bytes] : server.held[path]) EXPECT_EQ(bytes, test::read_text(recording.path(name))) << name;
    EXPECT_EQ(server.held[path].count("manifest"), 1U);
  }

  SmallRecording recording;
  MemoryServer server;
  Witness witness;
  std::vector<std::string> said;
  Log log = [this](LogLevel level, std::string_view text) {
    if (level >= LogLevel::warning) said.emplace_back(text);
  };
};

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
  struct Appear final : Observer {
    std::string from, to;
    void ready() override {
      if (std::filesystem::exists(from)) std::filesystem::rename(from, to);
    }
    void started(const std::string&, const wire::RecordingPath&) override {}
    void uploaded(const std::string&, std::uint64_t, const std::string&) override {}
    void waiting(const std::string&, double) override {}
    void alarm(const std::string&) override {}
    void refused_by_audit(const std::vector<wire::AuditFault>&) override {}
    void synced(const std::string&, const UploadProgress&) override {}
    void progress(const UploadProgress&) override {}
  } appear;
  appear.from = hidden;
  appear.to = recording.directory();
  const auto end = upload_recording(sys::real_file_system(), recording.directory(), o, appear, log);
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

TEST_F(Upload, OutageIsWaitedOutAndSaidOnce) {
  closed_recording(4);
  int failures = 0;
  server.hook = [&](const FakeRequest&) -> std::optional<FakeAnswer> {
    if (++failures > 30) return std::nullopt;
    return FakeAnswer{.fate = FakeAnswer::Fate::hang_up};
  };
  ASSERT_TRUE(push());
  expect_equal();
  EXPECT_EQ(said.size(), 1U) << testing::PrintToString(said);
  EXPECT_TRUE(has_receipt());
}

TEST_F(Upload, ServerThatIsDownAtTheStartIsWaitedFor) {
  closed_recording(2);
  server.http().stop();
  witness.on_waiting = [&, up = false]() mutable {
    if (!std::exchange(up, true)) server.http().start_again();
  };
  ASSERT_TRUE(push());
  EXPECT_TRUE(has_receipt());
}

TEST_F(Upload, EveryRetryableStatusIsRetried) {
  closed_recording(4);
  std::vector<int> statuses{500, 502, 503, 504, 507, 408, 425, 429};
  server.hook = [&](const FakeRequest&) -> std::optional<FakeAnswer> {
    if (statuses.empty()) return std::nullopt;
    const int status = statuses.back();
    statuses.pop_back();
    return MemoryServer::problem(status, "x", "later");
  };
  ASSERT_TRUE(push());
  expect_equal();
}

TEST_F(Upload, AnswerLostAfterTheServerActedIsSentAgainWithoutHarm) {
  closed_recording(4);
  std::set<std::string> dropped;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.method != "PUT" || !dropped.insert(request.target).second) return std::nullopt;
    server.bound[kPath] = test::kRecordingId;
    server.held[kPath][request.target.substr(request.target.rfind('/') + 1)] = request.body;
    return FakeAnswer{.fate = FakeAnswer::Fate::hang_up};
  };
  ASSERT_TRUE(push());
  expect_equal();
  EXPECT_THAT(server.puts, ElementsAre("manifest")) << "what is held was sent again";
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

TEST_F(Upload, PermanentRefusalsEndItWithTheServersWords) {
  closed_recording(2);
  std::atomic<int> answer = 0;  // a refused transfer's connection may still be served when the next push begins
  server.hook = [&answer](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.method != "PUT") return std::nullopt;
    return MemoryServer::problem(answer, "no", "these are my words");
  };
  for (const auto& [status, kind] : std::vector<std::pair<int, ErrorKind>>{{401, ErrorKind::permission},
                                                                           {403, ErrorKind::permission},
                                                                           {413, ErrorKind::refused},
                                                                           {400, ErrorKind::refused},
                                                                           {409, ErrorKind::refused}}) {
    answer = status;
    const auto end = push();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().kind, kind) << status;
    EXPECT_THAT(end.error().message, HasSubstr("these are my words"));
  }
}

// 401 in the middle of a recording: an alarm, and it goes on as soon as the file has a good token.
TEST_F(Upload, ATokenThatExpiresIsAnAlarmAndNeverTheEnd) {
  closed_recording(4);
  const std::string file = recording.path(".token");
  test::write_text(file, "first\n");
  auto o = options();
  o.client.credential = http::Credential::open(file).value();
  std::atomic<int> requests = 0;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.headers.at("authorization") == (++requests < 4 ? "Bearer first" : "Bearer second")) return std::nullopt;
    return MemoryServer::problem(401, "token-expired", "the token has expired");
  };
  int waits = 0;
  witness.on_alarm = [&] {
    if (++waits == 1) std::filesystem::remove(file);
    if (waits == 2) test::write_text(file, "second\n");
  };
  const auto end = push(o);
  ASSERT_TRUE(end) << end.error().message;
  expect_equal();
  // Once for the refusal, once for the file that could not be read: not once for each try.
  ASSERT_GE(witness.alarms.size(), 2U);
  ASSERT_LE(witness.alarms.size(), 4U);
  EXPECT_THAT(witness.alarms[0], HasSubstr("the token has expired"));
  EXPECT_THAT(witness.alarms[1], HasSubstr("cannot read the token file"));
  for (const std::string& line : said) {
    EXPECT_THAT(line, Not(HasSubstr("first")));
    EXPECT_THAT(line, Not(HasSubstr("second")));
  }
}

TEST_F(Upload, WithACredential403IsStillTheEnd) {
  closed_recording(2);
  const std::string file = recording.path(".token");
  test::write_text(file, "mine");
  auto o = options();
  o.client.credential = http::Credential::open(file).value();
  server.hook = [](const FakeRequest&) { return MemoryServer::problem(403, "not-allowed", "not what it is for"); };
  const auto end = push(o);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::permission);
  EXPECT_THAT(end.error().message, HasSubstr("not what it is for"));
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

TEST_F(Upload, DamagedLocalFileThatTheServerHoldsDoesNotMatter) {
  closed_recording(3);
  server.bound[kPath] = test::kRecordingId;
  server.held[kPath]["chunk_000002.m4s"] = test::read_text(recording.path("chunk_000002.m4s"));
  test::write_text(recording.path("chunk_000002.m4s"), "rotten");
  ASSERT_TRUE(push());
  EXPECT_TRUE(has_receipt());
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

TEST_F(Upload, GarbageWithStatus200IsNoSync) {
  closed_recording(2);
  for (const char* garbage : {"", "{}", "ok", R"({"closed":true,"synced":true,"faults":[]})", "\xff\xfe", "[1,2]"}) {
    server.hook = [&](const FakeRequest&) -> std::optional<FakeAnswer> { return FakeAnswer{.body = garbage}; };
    const auto end = push();
    ASSERT_FALSE(end) << garbage;
    EXPECT_EQ(end.error().kind, ErrorKind::protocol);
    EXPECT_FALSE(has_receipt());
  }
}

TEST_F(Upload, BytesDamagedOnTheWayAreSentAgain) {
  closed_recording(3);
  int mismatches = 3;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.method != "PUT" || mismatches == 0) return std::nullopt;
    --mismatches;
    return MemoryServer::problem(400, "digest-mismatch", "not what the digest says");
  };
  ASSERT_TRUE(push());
  expect_equal();
}

TEST_F(Upload, ABrokenTransferGoesOnWhereItStopped) {
  closed_recording(1);
  server.breaks_after_bytes = 300;
  ASSERT_TRUE(push());
  expect_equal();
  EXPECT_GE(server.breaks, 3);
  EXPECT_EQ(server.lost_bytes, 0U);
  EXPECT_EQ(server.body_bytes, test::read_text(recording.path("init_001.mp4")).size() +
                                   test::read_text(recording.path("chunk_000001.m4s")).size() +
                                   test::read_text(recording.path("manifest")).size())
      << "something was sent twice";
}

// The server keeps some parts only: a file that was begun is finished before the next one is begun.
TEST_F(Upload, OnALinkThatBreaksAllTheTimeManyFilesGetThroughWithFewPartsAtTheServer) {
  closed_recording(20);
  server.breaks_after_bytes = 300;
  server.most_parts = 4;
  auto o = options();
  o.deadline_ns = system_clock().monotonic_ns() + 20'000'000'000;
  ASSERT_TRUE(push(o));
  expect_equal();
  EXPECT_EQ(server.lost_bytes, 0U);
}

TEST_F(Upload, AFileThatNeverGetsAnyFurtherIsNotInTheWayOfTheOthers) {
  closed_recording(6);
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (!request.target.ends_with("chunk_000002.m4s") || server.held[kPath].size() == 6) return std::nullopt;
    return FakeAnswer{.fate = FakeAnswer::Fate::hang_up};
  };
  auto o = options();
  o.deadline_ns = system_clock().monotonic_ns() + 10'000'000'000;
  ASSERT_TRUE(push(o));
  expect_equal();
  EXPECT_EQ(witness.uploads.back(), "chunk_000002.m4s");
}

TEST_F(Upload, APartThatTheServerLostIsSentAgain) {
  closed_recording(2);
  server.breaks_after_bytes = 300;
  server.most_parts = 0;
  auto o = options();
  o.deadline_ns = system_clock().monotonic_ns() + 300'000'000;
  const auto end = push(o);
  ASSERT_FALSE(end) << "nothing was kept, and it arrived";
  EXPECT_EQ(end.error().kind, ErrorKind::unavailable);
  server.breaks_after_bytes = 0;
  ASSERT_TRUE(push());
  expect_equal();
}

// Between the question and the rest the server was restarted.
TEST_F(Upload, AnOffsetThatIsNoLongerTrueIsAskedForAgain) {
  closed_recording(1);
  server.breaks_after_bytes = 300;
  int patches = 0;
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.method != "PATCH" || ++patches > 1) return std::nullopt;
    return MemoryServer::problem(409, "mismatching-upload-offset", "the upload is not at this offset");
  };
  ASSERT_TRUE(push());
  EXPECT_GT(patches, 1);
  expect_equal();
}

// A flipped bit in the head of a request is a request that makes no sense, or one for another place.
TEST_F(Upload, RequestsThatWereDamagedOnTheWayAreSentAgain) {
  closed_recording(4);
  std::vector<std::pair<int, std::string>> answers{
      {400, "bad-request"}, {400, "digest-required"}, {404, "not-found"}, {405, "method-not-allowed"}};
  server.hook = [&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (answers.empty() || request.method != "PUT") return std::nullopt;
    const auto [status, type] = answers.back();
    answers.pop_back();
    return MemoryServer::problem(status, type, "what?");
  };
  ASSERT_TRUE(push());
  EXPECT_TRUE(answers.empty());
  expect_equal();
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
  o.deadline_ns = system_clock().monotonic_ns() + 30'000'000;
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
