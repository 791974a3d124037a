// A director's requests, against a server that misbehaves.
#include <gtest/gtest.h>

#include "control/session_client.hpp"
#include "unit/fake_server.hpp"

namespace mc::control {
namespace {

using test::FakeAnswer;
using test::FakeRequest;

std::string view_text() {
  wire::SessionView view;
  view.name = "studio-a";
  view.id = std::string(32, 'a');
  view.version = 2;
  view.takes = {{"001", wire::TakeState::recording, 1'000'000'000, std::nullopt, {}, {}}};
  return json::to_text(wire::to_json(view));
}

SessionClient client_of(const test::FakeServer& server, std::int64_t patience_ms = 30'000) {
  return SessionClient::open({.base_url = server.url(), .http = {}, .patience_ms = patience_ms}).value();
}

TEST(SessionClient, ARequestWhoseAnswerIsLostIsRepeatedAsTheSame) {
  std::vector<std::string> keys;
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    keys.push_back(request.headers.at("idempotency-key"));
    if (keys.size() == 1) return {.fate = FakeAnswer::Fate::hang_up};
    if (keys.size() == 2) return {.status = 503};
    return {.body = view_text()};
  });
  auto client = client_of(server);
  const auto answer = client.command("studio-a", Command::rec, "");
  ASSERT_TRUE(answer) << answer.error().message;
  ASSERT_TRUE(answer->view);
  EXPECT_EQ(answer->view->recording()->name, "001");
  ASSERT_EQ(keys.size(), 3U);
  EXPECT_EQ(keys[0], keys[1]);
  EXPECT_EQ(keys[1], keys[2]);
  EXPECT_EQ(keys[0].size(), 32U);
  ASSERT_TRUE(client.command("studio-a", Command::stop, ""));
  EXPECT_NE(keys[3], keys[2]) << "another decision";
}

TEST(SessionClient, WhatSpeaksAgainstItIsAnAnswer) {
  test::FakeServer server([](const FakeRequest& request) -> FakeAnswer {
    EXPECT_EQ(request.target, "/v1/sessions/studio-a/stop");
    EXPECT_EQ(request.body, R"({"take":"001"})");
    return {.status = 409,
            .body = wire::format_refused({wire::TakeState::synced, "001", "take 001 was stopped before"}),
            .content_type = "application/problem+json"};
  });
  const auto answer = client_of(server).command("studio-a", Command::stop, "001");
  ASSERT_TRUE(answer);
  ASSERT_TRUE(answer->refused);
  EXPECT_EQ(answer->refused->state, wire::TakeState::synced);
}

TEST(SessionClient, ACodeIsExchangedForATokenAndAWrongOneIsToldInTheServersWords) {
  int asked = 0;
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    EXPECT_EQ(request.method + " " + request.target, "POST /v1/sessions/studio-a/join");
    ++asked;
    if (asked == 1) {
      return {.status = 429, .body = "{}", .content_type = "application/json", .more_headers = {"Retry-After: 0"}};
    }
    const auto wanted = wire::parse_join_request(request.body);
    if (!wanted || *wanted != wire::JoinRequest{"alice", "7KQF-9T2M"}) {
      return {.status = 403,
              .body = R"({"type":"not-invited","status":403,"title":"no such guest is invited with this code"})",
              .content_type = "application/problem+json"};
    }
    return {.body = wire::format_join_answer({"a.b.c", "0123456789abcdef"})};
  });
  auto client = client_of(server);
  const auto joined = client.join("studio-a", "alice", "7KQF-9T2M");
  ASSERT_TRUE(joined) << joined.error().message;
  EXPECT_EQ(*joined, (wire::JoinAnswer{"a.b.c", "0123456789abcdef"}));
  EXPECT_EQ(asked, 2) << "too many wrong codes are over some time";
  const auto refused = client.join("studio-a", "alice", "0000-0000");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::permission);
  EXPECT_NE(refused.error().message.find("no such guest is invited"), std::string::npos) << refused.error().message;
  EXPECT_EQ(asked, 3) << "asking again would not help";
}

TEST(SessionClient, ThePatienceEndsAndGarbageIsNoAnswer) {
  int asked = 0;
  test::FakeServer server([&](const FakeRequest& request) -> FakeAnswer {
    ++asked;
    if (request.target.ends_with("/nobody")) return {.status = 404};
    if (request.target.ends_with("/garbage")) return {.body = "{}"};
    return {.status = 503};
  });
  auto client = client_of(server, 0);
  EXPECT_EQ(client.view("studio-a").error().kind, ErrorKind::unavailable);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(client.view("nobody").error().kind, ErrorKind::not_found);
  EXPECT_EQ(client.view("garbage").error().kind, ErrorKind::protocol);
}

}  // namespace
}  // namespace mc::control
