#include "wire/control.hpp"

#include "base/json.hpp"
#include "wire/join_url.hpp"

namespace mc::wire {
namespace {

tl::unexpected<Error> not_understood(const char* what) {
  return fail(ErrorKind::protocol, std::string(what) + " is not understood");
}

std::optional<std::vector<std::string>> names(const json::object& o, std::string_view key) {
  const auto* value = o.if_contains(key);
  if (value == nullptr || !value->is_array() || value->as_array().size() > kMaxSessionGuests) return std::nullopt;
  std::vector<std::string> found;
  for (const json::value& item : value->as_array()) {
    if (!item.is_string() || !is_name(std::string_view(item.as_string()))) return std::nullopt;
    found.emplace_back(item.as_string());
  }
  return found;
}

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

std::string typed(const char* type, json::object members) {
  json::object o{{"type", type}};
  for (auto& member : members) o.insert_or_assign(member.key(), std::move(member.value()));
  return json::to_text(o);
}

}  // namespace

std::string format_control(const ControlMessage& message) {
  return std::visit(
      Overloaded{[](const UnknownMessage& m) { return typed(m.type.c_str(), {}); },
                 [](const Hello& m) {
                   json::object o{{"agent", m.agent}};
                   if (!m.guest.empty()) o["guest"] = m.guest;
                   return typed("hello", std::move(o));
                 },
                 [](const ClockQuestion& m) {
                   return typed("clock", {{"t1_us", m.t1_us}});
                 },
                 [](const ClockAnswer& m) {
                   return typed("clock", {{"t1_us", m.t1_us}, {"t2_us", m.t2_us}, {"t3_us", m.t3_us}});
                 },
                 [](const Telemetry& m) {
                   return typed("telemetry", {{"telemetry", to_json(m)}});
                 },
                 [](const SessionView& m) {
                   return typed("session", {{"session", to_json(m)}});
                 },
                 [](const Problem& m) {
                   json::object o{{"problem", json::parse(format_problem(m)).value_or(json::value(nullptr))}};
                   return typed("problem", std::move(o));
                 }},
      message);
}

Result<ControlMessage> parse_control(std::string_view text) {
  constexpr char kWhat[] = "a message of the control connection";
  const auto o = json::parse_object(text);
  if (!o) return not_understood(kWhat);
  auto type = json::get_string(*o, "type");
  if (!type) return not_understood(kWhat);
  const auto part = [&o](std::string_view key) -> const json::object* {
    const auto* value = o->if_contains(key);
    return value == nullptr ? nullptr : value->if_object();
  };
  if (*type == "hello") {
    Hello hello{json::get_string(*o, "guest").value_or(""), json::get_string(*o, "agent").value_or("")};
    if (!hello.guest.empty() && !is_name(hello.guest)) return not_understood(kWhat);
    return ControlMessage(std::move(hello));
  }
  if (*type == "clock") {
    const auto t1 = json::get_int(*o, "t1_us");
    const auto t2 = json::get_int(*o, "t2_us"), t3 = json::get_int(*o, "t3_us");
    if (!t1 || t2.has_value() != t3.has_value()) return not_understood(kWhat);
    if (t2) return ControlMessage(ClockAnswer{*t1, *t2, *t3});
    return ControlMessage(ClockQuestion{*t1});
  }
  if (*type == "telemetry") {
    const auto* telemetry = part("telemetry");
    if (telemetry == nullptr) return not_understood(kWhat);
    MC_TRY_ASSIGN(auto read, telemetry_from_json(*telemetry));
    return ControlMessage(std::move(read));
  }
  if (*type == "session") {
    const auto* session = part("session");
    if (session == nullptr) return not_understood(kWhat);
    MC_TRY_ASSIGN(auto read, session_view_from_json(*session));
    return ControlMessage(std::move(read));
  }
  if (*type == "problem") {
    const auto* problem = part("problem");
    auto read = problem == nullptr ? std::nullopt : parse_problem(json::to_text(*problem));
    if (!read) return not_understood(kWhat);
    return ControlMessage(std::move(*read));
  }
  return ControlMessage(UnknownMessage{std::move(*type)});
}

std::string format_new_session(const NewSession& request) {
  json::array guests;
  for (const std::string& guest : request.guests) guests.emplace_back(guest);
  json::object o{{"guests", std::move(guests)}};
  if (!request.session.empty()) o["session"] = request.session;
  return json::to_text(o);
}

Result<NewSession> parse_new_session(std::string_view text) {
  const auto o = json::parse_object(text);
  if (!o) return not_understood("the request");
  auto guests = names(*o, "guests");
  NewSession request{json::get_string(*o, "session").value_or(""), {}};
  if (!guests) return fail(ErrorKind::protocol, "'guests' is not a list of names");
  if (!request.session.empty() && !is_name(request.session)) {
    return fail(ErrorKind::protocol, "'session' is not a name");
  }
  request.guests = std::move(*guests);
  return request;
}

std::string format_session_created(const SessionCreated& answer) {
  json::array invitations;
  for (const Invitation& invitation : answer.invitations) {
    invitations.push_back(json::object{{"guest", invitation.guest}, {"code", invitation.code}});
  }
  json::object o{{"session", to_json(answer.session)}, {"invitations", std::move(invitations)}};
  if (!answer.director_token.empty()) o["director_token"] = answer.director_token;
  return json::to_text(o);
}

Result<SessionCreated> parse_session_created(std::string_view text) {
  constexpr char kWhat[] = "the server's answer";
  const auto o = json::parse_object(text);
  const auto* session = o ? o->if_contains("session") : nullptr;
  const auto* invitations = o ? o->if_contains("invitations") : nullptr;
  if (session == nullptr || !session->is_object() || invitations == nullptr || !invitations->is_array()) {
    return not_understood(kWhat);
  }
  SessionCreated answer;
  MC_TRY_ASSIGN(answer.session, session_view_from_json(session->as_object()));
  for (const json::value& item : invitations->as_array()) {
    if (!item.is_object()) return not_understood(kWhat);
    auto guest = json::get_string(item.as_object(), "guest");
    auto code = json::get_string(item.as_object(), "code");
    if (!guest || !is_name(*guest) || !code || (!code->empty() && !parse_join_code(*code))) {
      return not_understood(kWhat);
    }
    answer.invitations.push_back({std::move(*guest), std::move(*code)});
  }
  answer.director_token = json::get_string(*o, "director_token").value_or("");
  return answer;
}

std::string format_take_command(const TakeCommand& request) {
  json::object o;
  if (!request.take.empty()) o["take"] = request.take;
  return json::to_text(o);
}

Result<TakeCommand> parse_take_command(std::string_view text) {
  if (text.empty()) return TakeCommand{};
  const auto o = json::parse_object(text);
  if (!o) return not_understood("the request");
  TakeCommand request;
  if (o->contains("take")) {
    request.take = json::get_string(*o, "take").value_or("");
    if (!is_take(request.take)) return fail(ErrorKind::protocol, "'take' is not a number of 3 to 9 digits");
  }
  return request;
}

std::string format_join_request(const JoinRequest& request) {
  return json::to_text(json::object{{"guest", request.guest}, {"code", request.code}});
}

Result<JoinRequest> parse_join_request(std::string_view text) {
  const auto o = json::parse_object(text);
  if (!o) return not_understood("the request");
  JoinRequest request{json::get_string(*o, "guest").value_or(""), json::get_string(*o, "code").value_or("")};
  if (!is_name(request.guest)) return fail(ErrorKind::protocol, "'guest' is not a name");
  return request;
}

std::string format_join_answer(const JoinAnswer& answer) {
  json::object o{{"key", answer.key}};
  if (!answer.token.empty()) o["token"] = answer.token;
  return json::to_text(o);
}

Result<JoinAnswer> parse_join_answer(std::string_view text) {
  const auto o = json::parse_object(text);
  auto key = o ? json::get_string(*o, "key") : std::nullopt;
  if (!key) return not_understood("the server's answer");
  return JoinAnswer{json::get_string(*o, "token").value_or(""), std::move(*key)};
}

std::string format_refused(const Refused& refused) {
  const Problem problem{.type = "wrong-state", .status = 409, .title = "not in this state", .detail = refused.why};
  auto o = json::parse_object(format_problem(problem)).value_or(json::object{});
  o["state"] = name(refused.state);
  if (!refused.take.empty()) o["take"] = refused.take;
  return json::to_text(o);
}

std::optional<Refused> parse_refused(std::string_view text) {
  const auto problem = parse_problem(text);
  const auto o = json::parse_object(text);
  if (!problem || problem->type != "wrong-state" || !o) return std::nullopt;
  const auto state = parse_take_state(json::get_string(*o, "state").value_or(""));
  if (!state) return std::nullopt;
  return Refused{*state, json::get_string(*o, "take").value_or(""), problem->detail};
}

}  // namespace mc::wire
