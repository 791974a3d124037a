// Sessions: the director's decisions over HTTP, races, tokens, and what is told of what the store holds.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "server/sessions.hpp"
#include "unit/server_recording.hpp"
#include "wire/join_url.hpp"

namespace mc::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kSessionSecret[] = "0123456789abcdef0123456789abcdef";

class SessionsTest : public ServiceTest {
 protected:
  void with_tokens() {
    const std::string path = secrets_ / "secret";
    std::ofstream(path) << kSessionSecret << "\n";
    ::chmod(path.c_str(), 0600);
    authority_ = Authority::open(sys::real_file_system(), path, SecretMode::owner_only, no_log()).value();
    service_.emplace(*store_, *index_, key_, public_key_, metrics_, no_log(), Policy{authority_.get(), nullptr});
  }
  std::string token(wire::Role role, const std::string& session, const std::string& guest = {}) {
    wire::TokenClaims claims;
    claims.role = role;
    claims.session = session;
    claims.guest = guest;
    return authority_->mint(claims).value();
  }

  Response post(const std::string& target, const std::string& body, const std::string& token = {},
                const std::string& key = {}) {
    Request request;
    request.method = "POST";
    request.target = target;
    if (!token.empty()) request.headers.authorization = "Bearer " + token;
    if (!key.empty()) request.headers.idempotency_key = key;
    return service_->command(request, body);
  }
  Response get(const std::string& target, const std::string& token = {}) {
    Request request;
    request.method = "GET";
    request.target = target;
    if (!token.empty()) request.headers.authorization = "Bearer " + token;
    return service_->handle(request);
  }
  wire::SessionCreated create(const std::string& session, const std::vector<std::string>& guests) {
    const auto response = post("/v1/sessions", wire::format_new_session({session, guests}),
                               authority_ ? token(wire::Role::admin, "") : "");
    EXPECT_EQ(response.status, 201) << response.body;
    return wire::parse_session_created(response.body).value();
  }
  Response command(const char* action, const std::string& take = {}, const std::string& key = {}) {
    return post(wire::session_target("studio-a", action), wire::format_take_command({take}), {}, key);
  }
  wire::SessionView view() {
    const auto response = get(wire::session_target("studio-a"));
    EXPECT_EQ(response.status, 200) << response.body;
    return wire::session_view_from_json(json::parse_object(response.body).value()).value();
  }
  static std::string problem_of(const Response& response) {
    const auto found = wire::parse_problem(response.body);
    return std::to_string(response.status) + " " + (found ? found->type : "");
  }

  ScratchDirectory secrets_;
  std::unique_ptr<Authority> authority_;
};

TEST_F(SessionsTest, FromNewToSyncedByReceiptsAlone) {
  create("studio-a", {"alice", "bob"});
  EXPECT_TRUE(view().takes.empty());
  ASSERT_EQ(command("rec").status, 200);
  auto now = view();
  ASSERT_EQ(now.takes.size(), 1U);
  EXPECT_EQ(now.takes[0].state, wire::TakeState::recording);
  EXPECT_GE(now.takes[0].t0_ns, now.now_ns) << "a little ahead";
  ASSERT_EQ(command("stop").status, 200);
  EXPECT_EQ(view().takes[0].state, wire::TakeState::finalizing);
  EXPECT_EQ(view().takes[0].guests[0].holding, wire::Holding::nothing);

  for (const char* guest : {"alice", "bob"}) {
    TestRecording recording;
    recording.path = {"studio-a", "001", guest};
    put_files(recording);
    EXPECT_EQ(view().takes[0].guests[guest[0] - 'a'].holding, wire::Holding::part) << guest;
    EXPECT_EQ(view().takes[0].state, wire::TakeState::finalizing);
    EXPECT_TRUE(audit(recording, recording.manifest).synced);
    EXPECT_EQ(view().takes[0].guests[guest[0] - 'a'].holding, wire::Holding::all) << guest;
  }
  EXPECT_EQ(view().takes[0].state, wire::TakeState::synced);
  EXPECT_EQ(problem_of(command("finish", "001")), "409 wrong-state") << "it is over";
}

// never-lose F7: who went away is missing, not done; and a wiped rig's first recording is not forgotten for its second.
TEST_F(SessionsTest, AForcedFinishSaysWhatIsMissingAndIsNeverSynced) {
  create("studio-a", {"alice", "bob", "carol"});
  ASSERT_EQ(command("rec").status, 200);
  EXPECT_EQ(problem_of(command("finish", "001")), "409 wrong-state") << "stop comes first";
  ASSERT_EQ(command("stop").status, 200);
  TestRecording alice, bob, second;
  alice.path = {"studio-a", "001", "alice"};
  bob.path = {"studio-a", "001", "bob"};
  second.path = {"studio-a", "001", "bob~2"};
  second.id = std::string(32, 'e');
  put_files(alice);
  EXPECT_TRUE(audit(alice, alice.manifest).synced);
  put_files(bob);
  const auto finished = command("finish", "001", "key-1");
  ASSERT_EQ(finished.status, 200);
  const auto now = view();
  EXPECT_EQ(now.takes[0].state, wire::TakeState::incomplete);
  EXPECT_THAT(now.takes[0].missing, ElementsAre("bob: not all of it has come", "carol: nothing has come"));
  EXPECT_TRUE(audit(bob, bob.manifest).synced);
  EXPECT_EQ(view().takes[0].state, wire::TakeState::incomplete) << "for good";
  EXPECT_EQ(command("finish", "001", "key-1").status, 200) << "the same request again";
  EXPECT_EQ(problem_of(command("finish", "001", "key-2")), "409 wrong-state");
  EXPECT_EQ(problem_of(command("finish", "007")), "409 wrong-state");
  EXPECT_EQ(problem_of(command("finish")), "400 bad-request");
}

TEST_F(SessionsTest, EverythingIsTheSameAfterARestart) {
  create("studio-a", {"alice"});
  ASSERT_EQ(command("rec").status, 200);
  const auto before = view();
  start();
  auto after = view();
  after.now_ns = before.now_ns;
  EXPECT_EQ(after, before);
  ASSERT_EQ(command("stop").status, 200);
}

TEST_F(SessionsTest, ANameIsTakenOnceAndALostAnswerIsGivenAgain) {
  with_tokens();
  const std::string admin = token(wire::Role::admin, "");
  const std::string body = wire::format_new_session({"studio-a", {"alice"}});
  const auto first = post("/v1/sessions", body, admin, "key-1");
  ASSERT_EQ(first.status, 201);
  EXPECT_EQ(problem_of(post("/v1/sessions", body, admin, "key-2")), "409 session-exists");
  EXPECT_EQ(problem_of(post("/v1/sessions", body, admin)), "409 session-exists");
  const auto again = post("/v1/sessions", body, admin, "key-1");
  ASSERT_EQ(again.status, 201);
  const auto old_code = wire::parse_session_created(first.body)->invitations[0].code;
  const auto new_code = wire::parse_session_created(again.body)->invitations[0].code;
  EXPECT_NE(old_code, new_code);
  const auto join = [&](const std::string& code) {
    return post(wire::session_target("studio-a", "join"), wire::format_join_request({"alice", code})).status;
  };
  EXPECT_EQ(join(old_code), 403) << "void";
  EXPECT_EQ(join(new_code), 200);
}

TEST_F(SessionsTest, WhatIsNotUnderstoodIsRefusedAndChangesNothing) {
  create("studio-a", {"alice"});
  const auto before = view().version;
  EXPECT_EQ(problem_of(post("/v1/sessions", "{}")), "400 bad-request");
  EXPECT_EQ(problem_of(post("/v1/sessions", R"({"session":"../x","guests":[]})")), "400 bad-request");
  EXPECT_EQ(problem_of(post("/v1/sessions/..%2fx/rec", "")), "400 bad-name");
  EXPECT_EQ(problem_of(post("/v1/sessions/nobody/rec", "")), "404 not-found");
  EXPECT_EQ(problem_of(command("rec", {}, "a key")), "400 bad-request");
  EXPECT_EQ(problem_of(command("rec", {}, std::string(65, 'x'))), "400 bad-request");
  EXPECT_EQ(problem_of(post(wire::session_target("studio-a", "rec"), "[1]")), "400 bad-request");
  EXPECT_EQ(problem_of(post(wire::session_target("studio-a"), "")), "405 method-not-allowed");
  EXPECT_EQ(problem_of(get(wire::session_target("studio-a", "rec"))), "405 method-not-allowed");
  EXPECT_EQ(problem_of(get(wire::session_target("studio-a", "control"))), "426 upgrade-required");
  EXPECT_EQ(view().version, before);
}

// Issue: two directors at once. One wins, the other is told the state; nothing is lost.
TEST_F(SessionsTest, OfTwoDirectorsWhoRaceOneWins) {
  create("studio-a", {"alice"});
  const auto race = [&](const std::function<Response()>& a, const std::function<Response()>& b) {
    Response of_a, of_b;
    std::thread other([&] { of_b = b(); });
    of_a = a();
    other.join();
    for (const Response* response : {&of_a, &of_b}) {
      if (response->status == 200) continue;
      EXPECT_EQ(response->status, 409) << response->body;
      EXPECT_TRUE(wire::parse_refused(response->body)) << "with the state";
    }
    return (of_a.status == 200) + (of_b.status == 200);
  };
  for (int round = 1; round <= 25; ++round) {
    const std::string take = wire::take_name(static_cast<std::size_t>(round));
    EXPECT_EQ(race([&] { return command("rec"); }, [&] { return command("rec"); }), 1);
    EXPECT_EQ(race([&] { return command("stop"); }, [&] { return command("stop", take); }), 1);
    EXPECT_EQ(race([&] { return command("finish", take); }, [&] { return command("stop", take); }), 1)
        << "stopped before: only the finish is allowed";
    EXPECT_EQ(race([&] { return command("finish", take); }, [&] { return command("finish", take); }), 0);
  }
  // REC beside STOP: whichever comes first, a REC that was answered has its take.
  int won = 0;
  for (int round = 0; round < 25; ++round) won += race([&] { return command("rec"); }, [&] { return command("stop"); });
  const auto now = view();
  const auto stopped = std::ranges::count_if(now.takes, [](const auto& take) { return take.t1_ns.has_value(); });
  EXPECT_EQ(now.takes.size() + static_cast<std::size_t>(stopped), 25U + 25U + static_cast<std::size_t>(won));
}

TEST_F(SessionsTest, TwoInvitationsAtOnceAreBothThere) {
  create("studio-a", {});
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this, i] {
      const std::string body = wire::format_new_session({"", {"guest-" + std::to_string(i)}});
      EXPECT_EQ(post(wire::session_target("studio-a", "guests"), body).status, 200);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(view().guests.size(), 8U);
}

TEST_F(SessionsTest, OnlyItsDirectorDecides) {
  with_tokens();
  const auto created = create("studio-a", {"alice", "bob"});
  create("studio-b", {"alice"});
  const std::string director = created.director_token;
  const std::string stranger = token(wire::Role::director, "studio-b");
  const std::string alice = token(wire::Role::guest, "studio-a", "alice");
  const auto rec = wire::session_target("studio-a", "rec");
  EXPECT_EQ(post(rec, "").status, 401);
  EXPECT_EQ(problem_of(post(rec, "", stranger)), "403 not-allowed") << "of another session";
  for (const char* action : {"rec", "stop", "finish", "guests"}) {
    EXPECT_EQ(problem_of(post(wire::session_target("studio-a", action), "", alice)), "403 not-allowed") << action;
    EXPECT_EQ(problem_of(post(wire::session_target("studio-a", action), "", token(wire::Role::reader, ""))),
              "403 not-allowed");
  }
  EXPECT_EQ(problem_of(post("/v1/sessions", "", director)), "403 not-allowed");
  EXPECT_EQ(post(rec, "", director).status, 200);
  EXPECT_EQ(get(wire::session_target("studio-a"), alice).status, 200);
  EXPECT_EQ(get(wire::session_target("studio-a"), director).status, 200);
  EXPECT_EQ(get(wire::session_target("studio-b"), alice).status, 403);
  EXPECT_EQ(get(wire::session_target("studio-b"), director).status, 403);
  EXPECT_EQ(get(wire::session_target("studio-a")).status, 401);
}

TEST_F(SessionsTest, ACodeGivesATokenForItsGuestAndGuessingIsSlow) {
  with_tokens();
  const auto created = create("studio-a", {"alice", "bob"});
  const auto join = [&](const std::string& guest, const std::string& code) {
    return post(wire::session_target("studio-a", "join"), wire::format_join_request({guest, code}));
  };
  const std::string code = created.invitations[0].code;
  const auto joined = join("alice", code);
  ASSERT_EQ(joined.status, 200) << joined.body;
  const auto answer = wire::parse_join_answer(joined.body).value();
  EXPECT_EQ(answer.key, public_key_.fingerprint());
  EXPECT_EQ(get(wire::session_target("studio-a"), answer.token).status, 200);
  Request put;
  put.method = "PUT";
  put.headers.authorization = "Bearer " + answer.token;
  put.target = "/v1/recordings/studio-a/001/alice/manifest";
  EXPECT_FALSE(authority_->check(put, parse_route(put.target)));
  put.target = "/v1/recordings/studio-a/001/bob/manifest";
  EXPECT_TRUE(authority_->check(put, parse_route(put.target)));

  std::string document = store_->read_document("studio-a").value()->text;
  EXPECT_THAT(document, testing::Not(HasSubstr(code))) << "the document has hashes";
  EXPECT_EQ(problem_of(join("bob", code)), "403 not-invited") << "each has its own";
  EXPECT_EQ(problem_of(join("mallory", code)), "403 not-invited");
  int wrong = 2;
  while (problem_of(join("alice", "0000-0000")) == "403 not-invited") ASSERT_LT(++wrong, 12);
  EXPECT_EQ(wrong, 10);
  EXPECT_EQ(join("alice", code).status, 429) << "a right code does not help who guesses";
}

TEST_F(SessionsTest, WithoutASecretThereAreNoCodes) {
  const auto created = create("studio-a", {"alice"});
  EXPECT_EQ(created.invitations, (std::vector<wire::Invitation>{{"alice", ""}}));
  EXPECT_EQ(created.director_token, "");
  const auto join = [&](const std::string& guest) {
    return post(wire::session_target("studio-a", "join"), wire::format_join_request({guest, ""})).status;
  };
  EXPECT_EQ(join("alice"), 200);
  EXPECT_EQ(join("mallory"), 403);
}

}  // namespace
}  // namespace mc::server
