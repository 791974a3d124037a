// Requests that change a session, and the messages of its control connection (mc-session(7)). JSON both; the connection
// is a WebSocket (RFC 6455) whose text messages are one object each, with the member "type".
//
//   guest, director → server     hello · clock {t1_us} · telemetry
//   server → them                session · clock {t1_us, t2_us, t3_us} · telemetry (to directors) · problem
//
// Every message may be lost with the connection: whatever matters is in the session, which is sent again at each
// connect, at each change, and can be asked for by GET. A message of an unknown type is passed over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "wire/protocol.hpp"
#include "wire/session_view.hpp"

namespace mc::wire {

inline constexpr char kIdempotencyHeader[] = "Idempotency-Key";  // draft-ietf-httpapi-idempotency-key-header
inline constexpr std::size_t kMaxControlBytes = 64 * 1024;       // of a message to the server, and of a request's body
inline constexpr char kControlProtocol[] = "maycast.control.1";  // Sec-WebSocket-Protocol

// --- the control connection ---------------------------------------------------------------------------------------

struct Hello {
  std::string guest;  // empty: a director, or somebody who only looks on
  std::string agent;  // "mc-guest 1.0.0", for logs
  bool operator==(const Hello&) const = default;
};
// The four time stamps of RFC 5905 section 8; t4 is when the answer came. t1 is a number of the client's own and comes
// back as it was; t2 and t3 are the session clock when the question came and when the answer went, in microseconds
// since the Unix epoch.
struct ClockQuestion {
  std::int64_t t1_us = 0;
  bool operator==(const ClockQuestion&) const = default;
};
struct ClockAnswer {
  std::int64_t t1_us = 0, t2_us = 0, t3_us = 0;
  bool operator==(const ClockAnswer&) const = default;
};
struct UnknownMessage {
  std::string type;
  bool operator==(const UnknownMessage&) const = default;
};
using ControlMessage = std::variant<UnknownMessage, Hello, ClockQuestion, ClockAnswer, Telemetry, SessionView, Problem>;
std::string format_control(const ControlMessage& message);    // not of an UnknownMessage
Result<ControlMessage> parse_control(std::string_view text);  // kind: protocol

// --- requests -----------------------------------------------------------------------------------------------------

// POST /v1/sessions.
struct NewSession {
  std::string session;
  std::vector<std::string> guests;
  bool operator==(const NewSession&) const = default;
};
std::string format_new_session(const NewSession& request);
Result<NewSession> parse_new_session(std::string_view json);  // kind: protocol

// The answer to it, and to POST …/guests: what is told once. A repetition of the request by its key makes new codes,
// for the old ones are known to nobody.
struct Invitation {
  std::string guest, code;
  bool operator==(const Invitation&) const = default;
};
struct SessionCreated {
  SessionView session;
  std::vector<Invitation> invitations;
  std::string director_token;  // empty where the server asks for none
  bool operator==(const SessionCreated&) const = default;
};
std::string format_session_created(const SessionCreated& answer);
Result<SessionCreated> parse_session_created(std::string_view json);  // kind: protocol

// POST …/rec, …/stop, …/finish: which take; empty: the next one, the one that is recording. Never empty for finish.
struct TakeCommand {
  std::string take;
  bool operator==(const TakeCommand&) const = default;
};
std::string format_take_command(const TakeCommand& request);
Result<TakeCommand> parse_take_command(std::string_view json);  // kind: protocol; an empty text is an empty command

// POST …/guests: NewSession's `guests` alone. POST …/join:
struct JoinRequest {
  std::string guest, code;
  bool operator==(const JoinRequest&) const = default;
};
std::string format_join_request(const JoinRequest& request);
Result<JoinRequest> parse_join_request(std::string_view json);  // kind: protocol
struct JoinAnswer {
  std::string token;  // empty where the server asks for none
  std::string key;    // fingerprint of the key that signs receipts
  bool operator==(const JoinAnswer&) const = default;
};
std::string format_join_answer(const JoinAnswer& answer);
Result<JoinAnswer> parse_join_answer(std::string_view json);  // kind: protocol

// 409 to a command: the problem, with the state that spoke against it.
std::string format_refused(const Refused& refused);
std::optional<Refused> parse_refused(std::string_view json);

}  // namespace mc::wire
