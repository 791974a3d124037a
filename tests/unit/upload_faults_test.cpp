// An upload and what the server and the way to it do to it: outages, refusals, garbage, transfers that break.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>

#include "base/clock.hpp"
#include "unit/upload_recording_fixture.hpp"

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
  o.deadline_ns = system_clock().monotonic_ns() + 300'000'000'000;
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
  o.deadline_ns = system_clock().monotonic_ns() + 300'000'000'000;
  ASSERT_TRUE(push(o));
  expect_equal();
  // The answer to the last of the others may be on its way still.
  EXPECT_GE(std::ranges::find(witness.uploads, "chunk_000002.m4s") - witness.uploads.begin(), 5);
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

}  // namespace
}  // namespace mc::upload
