#include "wire/session.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/clock.hpp"
#include "wire/json_reader.hpp"

namespace mc::wire {
namespace {

constexpr std::array<std::pair<TakeState, const char*>, 5> kStates{{{TakeState::standby, "standby"},
                                                                    {TakeState::recording, "recording"},
                                                                    {TakeState::finalizing, "finalizing"},
                                                                    {TakeState::synced, "synced"},
                                                                    {TakeState::incomplete, "incomplete"}}};

constexpr std::int64_t kShortestLeadNs = 2'000'000'000;
constexpr std::int64_t kLongestLeadNs = 30'000'000'000;

json::object to_json(const Decision& decision) {
  json::object o{{"at", format_utc(decision.at_ns)}};
  if (!decision.key.empty()) o["key"] = decision.key;
  return o;
}

constexpr char kDocument[] = "the session document is damaged";

Result<Decision> decision_from_json(const json::object& o) {
  JsonReader reader(o, ErrorKind::damaged, kDocument);
  Decision decision;
  decision.at_ns = reader.time("at");
  decision.key = json::get_string(o, "key").value_or("");
  MC_TRY(reader.status());
  return decision;
}

json::object to_json(const Take& take) {
  json::object o{{"take", take.name},
                 {"guests", texts_to_json(take.guests)},
                 {"t0", format_utc(take.t0_ns)},
                 {"rec", to_json(take.rec)}};
  if (take.stop) {
    o["t1"] = format_utc(take.t1_ns);
    o["stop"] = to_json(*take.stop);
  }
  if (take.finish) {
    json::object finish = to_json(take.finish->decision);
    finish["missing"] = texts_to_json(take.finish->missing);
    o["finish"] = std::move(finish);
  }
  return o;
}

Result<Take> take_from_json(const json::object& o) {
  JsonReader reader(o, ErrorKind::damaged, kDocument);
  Take take;
  take.name = reader.text("take");
  take.guests = reader.texts("guests");
  for (const std::string& guest : take.guests) reader.check(is_name(guest), "guests");
  take.t0_ns = reader.time("t0");
  const json::object none;
  const auto decision = [&](std::string_view key) -> Decision {
    const auto* part = reader.object_if_there(key);
    auto read = decision_from_json(part == nullptr ? none : *part);
    reader.take_over(read);
    return read ? *read : Decision{};
  };
  take.rec = decision("rec");
  if (o.contains("stop")) {
    take.stop = decision("stop");
    take.t1_ns = reader.time("t1");
  }
  if (const auto* finish = reader.object_if_there("finish")) {
    JsonReader of_finish(*finish, ErrorKind::damaged, kDocument);
    take.finish = ForcedFinish{decision("finish"), of_finish.texts("missing")};
    reader.take_over(Result<void>(of_finish.status()));
  }
  // Nothing is finished that was not stopped.
  reader.check(take.stop.has_value() || !take.finish, "finish");
  MC_TRY(reader.status());
  return take;
}

std::optional<Refused> refused(TakeState state, std::string_view take, std::string why) {
  return Refused{state, std::string(take), std::move(why)};
}

bool is_repeated(const Decision& stands, const Decision& asked) {
  return !asked.key.empty() && stands.key == asked.key;
}

}  // namespace

// --- states -------------------------------------------------------------------------------------------------------

const char* name(TakeState state) {
  for (const auto& [value, text] : kStates) {
    if (value == state) return text;
  }
  return "standby";
}

std::optional<TakeState> parse_take_state(std::string_view text) {
  for (const auto& [value, word] : kStates) {
    if (text == word) return value;
  }
  return std::nullopt;
}

std::optional<TakeState> next_state(TakeState state, TakeCause cause) {
  switch (cause) {
    case TakeCause::rec:
      if (state == TakeState::standby) return TakeState::recording;
      break;
    case TakeCause::stop:
      if (state == TakeState::recording) return TakeState::finalizing;
      break;
    case TakeCause::finish:
      if (state == TakeState::finalizing) return TakeState::incomplete;
      break;
    case TakeCause::all_receipts:
      if (state == TakeState::finalizing) return TakeState::synced;
      break;
  }
  return std::nullopt;
}

TakeState Take::decided() const {
  if (finish) return TakeState::incomplete;
  return stop ? TakeState::finalizing : TakeState::recording;
}

// --- the document -------------------------------------------------------------------------------------------------

const Take* Session::find(std::string_view take) const {
  const auto found = std::ranges::find(takes, take, &Take::name);
  return found == takes.end() ? nullptr : &*found;
}

const Take* Session::recording() const {
  const auto found = std::ranges::find(takes, TakeState::recording, &Take::decided);
  return found == takes.end() ? nullptr : &*found;
}

bool Session::has_guest(std::string_view guest) const {
  return std::ranges::find(roster, guest, &RosterEntry::guest) != roster.end();
}

std::string take_name(std::size_t number) {
  std::string text = std::to_string(number);
  return text.size() < 3 ? std::string(3 - text.size(), '0') + text : text;
}

std::string format_session(const Session& session) {
  json::array roster, takes;
  for (const RosterEntry& entry : session.roster) {
    roster.push_back(json::object{{"guest", entry.guest}, {"code_sha256", entry.code_sha256}});
  }
  for (const Take& take : session.takes) takes.push_back(to_json(take));
  json::object o{{"maycast_session", kSessionVersion},
                 {"session", session.name},
                 {"id", session.id},
                 {"version", session.version},
                 {"created", format_utc(session.created_ns)},
                 {"create", to_json(session.created)},
                 {"roster", std::move(roster)},
                 {"takes", std::move(takes)}};
  return json::to_text(o) + "\n";
}

Result<Session> parse_session(std::string_view text) {
  if (text.size() > kMaxSessionBytes) return fail(ErrorKind::damaged, std::string(kDocument) + ": too long");
  MC_TRY_ASSIGN(const json::object o, json::parse_object(text));
  JsonReader reader(o, ErrorKind::damaged, kDocument);
  reader.check(reader.number("maycast_session") == kSessionVersion, "maycast_session");
  Session session;
  session.name = reader.text("session");
  reader.check(is_name(session.name), "session");
  session.id = reader.text("id");
  reader.check(is_recording_id(session.id), "id");
  const std::int64_t version = reader.number("version");
  reader.check(version > 0, "version");
  session.version = static_cast<std::uint64_t>(version);
  session.created_ns = reader.time("created");
  if (const auto* create = reader.object_if_there("create")) {
    auto decision = decision_from_json(*create);
    reader.take_over(decision);
    if (decision) session.created = std::move(*decision);
  }
  for (const json::object* entry : reader.objects("roster")) {
    JsonReader of_entry(*entry, ErrorKind::damaged, kDocument);
    session.roster.push_back({of_entry.text("guest"), of_entry.text("code_sha256")});
    of_entry.check(is_name(session.roster.back().guest), "guest");
    reader.take_over(Result<void>(of_entry.status()));
  }
  for (const json::object* part : reader.objects("takes")) {
    auto take = take_from_json(*part);
    reader.take_over(take);
    if (!take) break;
    reader.check(take->name == take_name(session.takes.size() + 1), "take");
    session.takes.push_back(std::move(*take));
  }
  reader.check(std::ranges::count(session.takes, TakeState::recording, &Take::decided) <= 1, "takes");
  MC_TRY(reader.status());
  return session;
}

std::optional<Refused> start_take(Session& session, const Decision& decision, std::int64_t t0_ns) {
  for (const Take& take : session.takes) {
    if (is_repeated(take.rec, decision)) return std::nullopt;
  }
  if (const Take* running = session.recording()) {
    return refused(TakeState::recording, running->name, "take " + running->name + " is recording");
  }
  if (session.roster.empty()) return refused(TakeState::standby, "", "the session has no guests");
  if (session.takes.size() >= kMaxSessionTakes)
    return refused(TakeState::standby, "", "the session has too many takes");
  Take take;
  take.name = take_name(session.takes.size() + 1);
  for (const RosterEntry& entry : session.roster) take.guests.push_back(entry.guest);
  take.t0_ns = t0_ns;
  take.rec = decision;
  session.takes.push_back(std::move(take));
  ++session.version;
  return std::nullopt;
}

std::optional<Refused> stop_take(Session& session, std::string_view name_of_take, const Decision& decision) {
  for (const Take& take : session.takes) {
    if (take.stop && is_repeated(*take.stop, decision)) return std::nullopt;
  }
  const Take* running = session.recording();
  const Take* wanted = name_of_take.empty() ? running : session.find(name_of_take);
  if (wanted == nullptr) {
    const TakeState last = session.takes.empty() ? TakeState::standby : session.takes.back().decided();
    return refused(last, name_of_take.empty() && !session.takes.empty() ? session.takes.back().name : "",
                   name_of_take.empty() ? "no take is recording" : "there is no take " + std::string(name_of_take));
  }
  if (!next_state(wanted->decided(), TakeCause::stop)) {
    return refused(wanted->decided(), wanted->name, "take " + wanted->name + " was stopped before");
  }
  Take& take = session.takes[static_cast<std::size_t>(wanted - session.takes.data())];
  take.stop = decision;
  take.t1_ns = std::max(decision.at_ns, take.t0_ns);
  ++session.version;
  return std::nullopt;
}

std::optional<Refused> finish_take(Session& session, std::string_view name_of_take, TakeState state,
                                   const Decision& decision, std::vector<std::string> missing) {
  const auto take = std::ranges::find(session.takes, name_of_take, &Take::name);
  if (take == session.takes.end()) {
    return refused(TakeState::standby, "", "there is no take " + std::string(name_of_take));
  }
  if (take->finish && is_repeated(take->finish->decision, decision)) return std::nullopt;
  if (!next_state(state, TakeCause::finish)) {
    return refused(state, take->name, "take " + take->name + " is " + name(state));
  }
  take->finish = ForcedFinish{decision, std::move(missing)};
  ++session.version;
  return std::nullopt;
}

bool add_guest(Session& session, RosterEntry entry) {
  if (session.has_guest(entry.guest)) return false;
  for (Take& take : session.takes) {
    if (take.decided() == TakeState::recording) take.guests.push_back(entry.guest);
  }
  session.roster.push_back(std::move(entry));
  ++session.version;
  return true;
}

std::int64_t start_time_ns(std::int64_t now_ns, std::int64_t worst_round_trip_ns) {
  const std::int64_t trips = std::clamp<std::int64_t>(worst_round_trip_ns, 0, kLongestLeadNs / 4) * 4;
  return now_ns + std::max(kShortestLeadNs, trips);
}

}  // namespace mc::wire
