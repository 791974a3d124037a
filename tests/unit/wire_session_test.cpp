// Sessions: each transition of the state machine, the document, what is told, join URLs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/control.hpp"
#include "wire/join_url.hpp"
#include "wire/session.hpp"
#include "wire/session_view.hpp"

namespace mc::wire {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::int64_t kSessionNow = 1'795'000'000'000'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;
const std::string kSessionId(32, 'a');

Session two_guests() {
  Session session;
  session.name = "studio-a";
  session.id = kSessionId;
  session.created_ns = kSessionNow;
  session.roster = {{"alice", std::string(64, '1')}, {"bob", std::string(64, '2')}};
  return session;
}
Decision at(std::int64_t second, std::string key = {}) { return {kSessionNow + second * kSecond, std::move(key)}; }

// The whole table: what is not in it is not allowed.
TEST(TakeStates, EveryStateAndEveryCause) {
  using enum TakeState;
  using enum TakeCause;
  struct Row {
    TakeState state;
    TakeCause cause;
    std::optional<TakeState> next;
  };
  const Row table[] = {
      {standby, rec, recording},          {standby, stop, std::nullopt},
      {standby, finish, std::nullopt},    {standby, all_receipts, std::nullopt},
      {recording, rec, std::nullopt},     {recording, stop, finalizing},
      {recording, finish, std::nullopt},  {recording, all_receipts, std::nullopt},
      {finalizing, rec, std::nullopt},    {finalizing, stop, std::nullopt},
      {finalizing, finish, incomplete},   {finalizing, all_receipts, synced},
      {synced, rec, std::nullopt},        {synced, stop, std::nullopt},
      {synced, finish, std::nullopt},     {synced, all_receipts, std::nullopt},
      {incomplete, rec, std::nullopt},    {incomplete, stop, std::nullopt},
      {incomplete, finish, std::nullopt}, {incomplete, all_receipts, std::nullopt},
  };
  ASSERT_EQ(std::size(table), 5U * 4U);
  for (const Row& row : table) {
    EXPECT_EQ(next_state(row.state, row.cause), row.next) << name(row.state) << " " << static_cast<int>(row.cause);
    EXPECT_EQ(parse_take_state(name(row.state)), row.state);
  }
  EXPECT_EQ(parse_take_state("done"), std::nullopt);
}

// The same, through the document: every command in every state a take can have.
TEST(SessionDocument, CommandsAreObeyedWhereTheTableSaysSo) {
  const auto in_state = [](TakeState state) {
    Session session = two_guests();
    if (state == TakeState::standby) return session;
    EXPECT_FALSE(start_take(session, at(0), at(2).at_ns));
    if (state == TakeState::recording) return session;
    EXPECT_FALSE(stop_take(session, "001", at(10)));
    if (state == TakeState::incomplete) {
      EXPECT_FALSE(finish_take(session, "001", TakeState::finalizing, at(20), {"x"}));
    }
    return session;
  };
  for (const TakeState state :
       {TakeState::standby, TakeState::recording, TakeState::finalizing, TakeState::synced, TakeState::incomplete}) {
    Session session = in_state(state);
    const Session before = session;
    // A REC begins the next take, so only a take that is recording is in its way.
    const auto rec = start_take(session, at(30), at(32).at_ns);
    EXPECT_EQ(rec.has_value(), state == TakeState::recording) << name(state);
    if (rec) {
      EXPECT_EQ(rec->state, TakeState::recording);
      EXPECT_EQ(rec->take, "001");
      EXPECT_EQ(session, before);
    } else {
      EXPECT_EQ(session.version, before.version + 1);
    }
    session = before;
    const auto stop = stop_take(session, state == TakeState::standby ? "" : "001", at(30));
    EXPECT_EQ(stop.has_value(), state != TakeState::recording) << name(state);
    if (stop) {
      EXPECT_EQ(session, before);
    }
    session = before;
    const auto finish = finish_take(session, "001", state, at(30), {"bob"});
    EXPECT_EQ(finish.has_value(), state != TakeState::finalizing) << name(state);
    if (finish) {
      EXPECT_EQ(finish->state, state);
      EXPECT_EQ(session, before);
    }
  }
}

TEST(SessionDocument, ASecondTakeBeginsWhileTheFirstIsFinalizing) {
  Session session = two_guests();
  ASSERT_FALSE(start_take(session, at(0), at(2).at_ns));
  ASSERT_FALSE(stop_take(session, "", at(10)));
  ASSERT_FALSE(start_take(session, at(11), at(13).at_ns));
  ASSERT_EQ(session.takes.size(), 2U);
  EXPECT_EQ(session.recording()->name, "002");
  EXPECT_EQ(session.find("001")->decided(), TakeState::finalizing);
  EXPECT_TRUE(stop_take(session, "001", at(12))) << "the first was stopped before";
  EXPECT_FALSE(stop_take(session, "002", at(20)));
}

TEST(SessionDocument, ARepeatedRequestFindsItsOwnDecision) {
  Session session = two_guests();
  ASSERT_FALSE(start_take(session, at(0, "k1"), at(2).at_ns));
  Session before = session;
  EXPECT_FALSE(start_take(session, at(5, "k1"), at(7).at_ns));
  EXPECT_EQ(session, before);
  EXPECT_TRUE(start_take(session, at(5, "k2"), at(7).at_ns));
  ASSERT_FALSE(stop_take(session, "", at(10, "k3")));
  before = session;
  EXPECT_FALSE(stop_take(session, "", at(11, "k3")));
  EXPECT_TRUE(stop_take(session, "", at(11, "k4")));
  EXPECT_TRUE(stop_take(session, "001", at(11))) << "without a key nothing is a repetition";
  ASSERT_FALSE(finish_take(session, "001", TakeState::finalizing, at(12, "k5"), {"bob"}));
  before = session;
  EXPECT_FALSE(finish_take(session, "001", TakeState::incomplete, at(13, "k5"), {}));
  EXPECT_EQ(session, before);
}

TEST(SessionDocument, AStopBeforeTheStartIsAStopAtTheStart) {
  Session session = two_guests();
  ASSERT_FALSE(start_take(session, at(0), at(2).at_ns));
  ASSERT_FALSE(stop_take(session, "", at(1)));
  EXPECT_EQ(session.takes[0].t1_ns, at(2).at_ns);
}

TEST(SessionDocument, AGuestWhoIsAddedBelongsToTheTakeThatIsRecordingAndToNoEarlierOne) {
  Session session = two_guests();
  ASSERT_FALSE(start_take(session, at(0), at(2).at_ns));
  ASSERT_FALSE(stop_take(session, "", at(10)));
  ASSERT_FALSE(start_take(session, at(11), at(13).at_ns));
  EXPECT_TRUE(add_guest(session, {"carol", std::string(64, '3')}));
  EXPECT_FALSE(add_guest(session, {"carol", std::string(64, '4')}));
  EXPECT_THAT(session.takes[0].guests, ElementsAre("alice", "bob"));
  EXPECT_THAT(session.takes[1].guests, ElementsAre("alice", "bob", "carol"));
}

TEST(SessionDocument, WithoutGuestsThereIsNothingToRecord) {
  Session session = two_guests();
  session.roster.clear();
  EXPECT_TRUE(start_take(session, at(0), at(2).at_ns));
}

TEST(SessionDocument, ComesBackAsItWas) {
  Session session = two_guests();
  session.created = at(0, "k0");
  EXPECT_EQ(*parse_session(format_session(session)), session);
  ASSERT_FALSE(start_take(session, at(0, "k1"), at(2).at_ns + 123));
  EXPECT_EQ(*parse_session(format_session(session)), session);
  ASSERT_FALSE(stop_take(session, "", at(10)));
  EXPECT_EQ(*parse_session(format_session(session)), session);
  ASSERT_FALSE(finish_take(session, "001", TakeState::finalizing, at(12, "k5"), {"bob: nothing has come"}));
  ASSERT_FALSE(start_take(session, at(20), at(22).at_ns));
  EXPECT_EQ(*parse_session(format_session(session)), session);
}

TEST(SessionDocument, WhatIsNoneIsRefused) {
  Session session = two_guests();
  EXPECT_FALSE(start_take(session, at(0), at(2).at_ns));
  const std::string good = format_session(session);
  ASSERT_TRUE(parse_session(good));
  for (std::size_t n = 0; n + 1 < good.size(); ++n) EXPECT_FALSE(parse_session(good.substr(0, n))) << n;
  const auto with = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    const auto at_from = text.find(from);
    EXPECT_NE(at_from, std::string::npos) << from;
    text.replace(at_from, from.size(), to);
    return parse_session(text);
  };
  EXPECT_FALSE(with("\"maycast_session\":1", "\"maycast_session\":2"));
  EXPECT_FALSE(with("\"session\":\"studio-a\"", "\"session\":\"../x\""));
  EXPECT_FALSE(with("\"take\":\"001\"", "\"take\":\"002\"")) << "numbered from 1";
  EXPECT_FALSE(with("\"version\":2", "\"version\":0"));
  EXPECT_FALSE(with("\"guest\":\"alice\"", "\"guest\":\".alice\""));
  EXPECT_FALSE(with("\"rec\":{", "\"finish\":{\"at\":\"2026-11-22T10:00:00Z\",\"missing\":[]},\"rec\":{"))
      << "finished, and never stopped";
}

TEST(TakeState, SyncedComesFromReceiptsOfEverybody) {
  Session session = two_guests();
  ASSERT_FALSE(start_take(session, at(0), at(2).at_ns));
  const std::vector<GuestOfTake> all{{"alice", Holding::all, {"alice"}}, {"bob", Holding::all, {"bob"}}};
  const std::vector<GuestOfTake> some{{"alice", Holding::all, {"alice"}}, {"bob", Holding::part, {"bob"}}};
  EXPECT_EQ(state_of(session.takes[0], all), TakeState::recording) << "before STOP nothing is whole";
  ASSERT_FALSE(stop_take(session, "", at(10)));
  EXPECT_EQ(state_of(session.takes[0], some), TakeState::finalizing);
  EXPECT_EQ(state_of(session.takes[0], {}), TakeState::finalizing) << "nobody is not everybody";
  EXPECT_EQ(state_of(session.takes[0], all), TakeState::synced);
  ASSERT_FALSE(finish_take(session, "001", TakeState::finalizing, at(12), {"bob"}));
  EXPECT_EQ(state_of(session.takes[0], all), TakeState::incomplete) << "never called Synced";
}

TEST(StartTime, IsAheadOfTheLongestRoundTrip) {
  EXPECT_EQ(start_time_ns(kSessionNow, 0), kSessionNow + 2 * kSecond);
  EXPECT_EQ(start_time_ns(kSessionNow, 40'000'000), kSessionNow + 2 * kSecond);
  EXPECT_EQ(start_time_ns(kSessionNow, kSecond), kSessionNow + 4 * kSecond);
  EXPECT_EQ(start_time_ns(kSessionNow, -1), kSessionNow + 2 * kSecond);
  EXPECT_EQ(start_time_ns(kSessionNow, INT64_MAX), kSessionNow + 30 * kSecond)
      << "a nonsense from one guest holds up nobody for long";
}

// --- what is told ---------------------------------------------------------------------------------------------------

Telemetry full_telemetry() {
  Telemetry t;
  t.guest = "alice";
  t.state = "recording";
  t.take = "001";
  t.version = 7;
  t.recorded_ms = 12'345;
  t.chunks_durable = 12;
  t.chunks_uploaded = 11;
  t.lag_ms = 1'345;
  t.disk_free_bytes = std::int64_t{1} << 40;
  t.encoder_load_percent = 37;
  t.sound_peak_db = -12.5;
  t.clock_offset_us = -5'000'000;
  t.clock_bound_us = 340;
  t.round_trip_us = 680;
  t.alarms = {"microphone: no signal"};
  return t;
}

SessionView full_view() {
  SessionView view;
  view.name = "studio-a";
  view.id = kSessionId;
  view.version = 7;
  view.now_ns = kSessionNow;
  view.key = "0123456789abcdef";
  view.guests = {{"alice", true, full_telemetry()}, {"bob", false, std::nullopt}};
  view.takes = {{"001",
                 TakeState::incomplete,
                 kSessionNow,
                 kSessionNow + kSecond,
                 {{"alice", Holding::all, {"alice"}}, {"bob", Holding::part, {"bob", "bob~2"}}},
                 {"bob: chunk 7"}},
                {"002", TakeState::recording, kSessionNow, std::nullopt, {{"alice", Holding::nothing, {}}}, {}}};
  return view;
}

TEST(Control, EveryMessageComesBackAsItWas) {
  const ControlMessage messages[] = {
      Hello{"alice", "mc-guest 1.0.0"},
      Hello{"", "mc-direct 1.0.0"},
      ClockQuestion{123},
      ClockAnswer{123, 1'795'000'000'000'000, 1'795'000'000'000'003},
      full_telemetry(),
      full_view(),
      Problem{"not-allowed", 403, "no", "not yours"},
  };
  for (const ControlMessage& message : messages) {
    const std::string text = format_control(message);
    const auto back = parse_control(text);
    ASSERT_TRUE(back) << text << back.error().message;
    EXPECT_EQ(*back, message) << text;
  }
  EXPECT_EQ(*parse_control(R"({"type":"later","x":1})"), ControlMessage(UnknownMessage{"later"}));
}

TEST(Control, WhatIsNotUnderstoodIsRefused) {
  for (const char* text :
       {"", "[]", "{}", R"({"type":1})", R"({"type":"clock"})", R"({"type":"clock","t1_us":1,"t2_us":2})",
        R"({"type":"hello","guest":"../x"})", R"({"type":"telemetry"})",
        R"({"type":"telemetry","telemetry":{"guest":"a","state":"standby","version":-1}})",
        R"({"type":"telemetry","telemetry":{"guest":"a","state":"standby","version":1,"take":"x"}})",
        R"({"type":"session","session":{}})", R"({"type":"problem"})"}) {
    EXPECT_FALSE(parse_control(text)) << text;
  }
  // A view whose recordings are not the guest's would make somebody fetch, or write, another path.
  SessionView view = full_view();
  view.takes[0].guests[0].recordings = {"mallory"};
  EXPECT_FALSE(parse_control(format_control(view)));
}

TEST(Control, RequestsComeBackAsTheyWere) {
  const NewSession created{"studio-a", {"alice", "アリス"}};
  EXPECT_EQ(*parse_new_session(format_new_session(created)), created);
  EXPECT_FALSE(parse_new_session(R"({"session":"a","guests":["a/b"]})"));
  EXPECT_FALSE(parse_new_session(R"({"session":".a","guests":[]})"));
  EXPECT_FALSE(parse_new_session(R"({"session":"a"})"));
  const SessionCreated answer{full_view(), {{"alice", "7KQF-9T2M"}, {"bob", ""}}, "token"};
  EXPECT_EQ(*parse_session_created(format_session_created(answer)), answer);
  EXPECT_EQ(parse_take_command(format_take_command({"002"}))->take, "002");
  EXPECT_EQ(parse_take_command("")->take, "");
  EXPECT_EQ(parse_take_command("{}")->take, "");
  EXPECT_FALSE(parse_take_command(R"({"take":"2"})"));
  const JoinRequest join{"alice", "7KQF-9T2M"};
  EXPECT_EQ(*parse_join_request(format_join_request(join)), join);
  const JoinAnswer joined{"token", "0123456789abcdef"};
  EXPECT_EQ(*parse_join_answer(format_join_answer(joined)), joined);
  const auto refused = parse_refused(format_refused({TakeState::recording, "001", "take 001 is recording"}));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->state, TakeState::recording);
  EXPECT_EQ(refused->take, "001");
  EXPECT_EQ(refused->why, "take 001 is recording");
  EXPECT_FALSE(parse_refused(format_problem({"conflict", 409, "a", "b"})));
}

// --- join URLs
// --------------------------------------------------------------------------------------------------------

TEST(JoinCode, IsReadAsPeopleTypeIt) {
  EXPECT_EQ(format_join_code(0), "0000-0000");
  EXPECT_EQ(format_join_code((std::uint64_t{1} << 40) - 1), "ZZZZ-ZZZZ");
  const std::string code = format_join_code(0x123456789A);
  EXPECT_EQ(parse_join_code(code), code);
  EXPECT_EQ(parse_join_code("7kqf9t2m"), "7KQF-9T2M");
  EXPECT_EQ(parse_join_code(" 7KQ F-9T2M"), "7KQF-9T2M");
  EXPECT_EQ(parse_join_code("oOiI-lL11"), "0011-1111");
  for (const char* none : {"", "7KQF-9T2", "7KQF-9T2MM", "7KQF-9T2U", "7KQF_9T2M"})
    EXPECT_FALSE(parse_join_code(none)) << none;
}

TEST(JoinUrl, ComesBackAsItWas) {
  for (const JoinUrl& url : {JoinUrl{"https://ingest.example", "studio-a", "alice", "7KQF-9T2M", "0123456789abcdef"},
                             JoinUrl{"http://127.0.0.1:8420", "s", "アリス さん", "", ""},
                             JoinUrl{"https://host/pre/fix", "a#b?c", "d&e=f", "", "0123456789abcdef"}}) {
    const auto back = parse_join_url(format_join_url(url));
    ASSERT_TRUE(back) << format_join_url(url) << back.error().message;
    EXPECT_EQ(*back, url);
  }
  EXPECT_EQ(format_join_url({"https://ingest.example", "studio-a", "alice", "7KQF-9T2M", "0123456789abcdef"}),
            "https://ingest.example/join/studio-a/alice#code=7KQF-9T2M&key=0123456789abcdef");
}

TEST(JoinUrl, WhatIsNoneIsRefusedWithAHint) {
  for (const char* text :
       {"", "studio-a/alice", "https://host/studio-a/alice", "https:///join/s/g", "ftp://host/join/s/g",
        "https://host/join/s/", "https://host/join/.s/g", "https://host/join/s/g?code=7KQF-9T2M",
        "https://host/join/s/g#code=7KQF", "https://host/join/s/g#key=xyz", "https://", "/"}) {
    const auto url = parse_join_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().kind, ErrorKind::usage);
    EXPECT_FALSE(url.error().hint.empty());
  }
}

}  // namespace
}  // namespace mc::wire
