// What everybody is told of a session: the decisions, what the store holds, and what the rigs say of themselves
// (mc-session(7)). Made by the server at each look, never kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "wire/session.hpp"

namespace mc::wire {

// What a rig says of itself, whenever something changes and once a second. Absent: not known.
struct Telemetry {
  std::string guest;
  std::string state;          // "preparing", "standby", "recording", "finalizing", "synced", "failed"
  std::string take;           // that it records or sends; empty: none
  std::uint64_t version = 0;  // of the session that it obeys: REC was acknowledged when it has the take's
  std::optional<std::int64_t> recorded_ms;
  std::optional<std::int64_t> chunks_durable, chunks_uploaded;
  std::optional<std::int64_t> lag_ms;  // how far the server is behind the recording
  std::optional<std::int64_t> disk_free_bytes;
  std::optional<std::int64_t> encoder_load_percent;
  std::optional<double> sound_peak_db;          // of full scale, in the last second
  std::optional<std::int64_t> clock_offset_us;  // session clock minus the rig's
  std::optional<std::int64_t> clock_bound_us, round_trip_us;
  std::vector<std::string> alarms;  // for people
  bool operator==(const Telemetry&) const = default;
};
json::object to_json(const Telemetry& telemetry);
Result<Telemetry> telemetry_from_json(const json::object& o);  // kind: protocol

enum class Holding : std::uint8_t {
  nothing,  // the server has not seen a recording of the guest
  part,     // it has, and there is one without a receipt
  all,      // a receipt for each
};
const char* name(Holding holding);
struct GuestOfTake {
  std::string guest;
  Holding holding = Holding::nothing;
  std::vector<std::string> recordings;  // names in the take: "alice", "alice~2"
  bool operator==(const GuestOfTake&) const = default;
};
struct TakeView {
  std::string name;
  TakeState state = TakeState::standby;
  std::int64_t t0_ns = 0;
  std::optional<std::int64_t> t1_ns;
  std::vector<GuestOfTake> guests;
  std::vector<std::string> missing;  // of an incomplete one
  bool operator==(const TakeView&) const = default;
};
struct GuestView {
  std::string guest;
  bool online = false;
  std::optional<Telemetry> telemetry;  // the last, also of one who went away
  bool operator==(const GuestView&) const = default;
};
// GET /v1/sessions/S, and the message `session` of the control connection.
struct SessionView {
  std::string name, id;
  std::uint64_t version = 0;
  std::int64_t now_ns = 0;  // when it was made
  std::string key;          // fingerprint of the key that signs receipts
  std::vector<GuestView> guests;
  std::vector<TakeView> takes;
  bool operator==(const SessionView&) const = default;

  const TakeView* find(std::string_view take) const;
  const TakeView* recording() const;
};
json::object to_json(const SessionView& view);
Result<SessionView> session_view_from_json(const json::object& o);  // kind: protocol

// The state of a take, by what was decided and by what the store holds.
TakeState state_of(const Take& take, const std::vector<GuestOfTake>& guests);

// "/v1/sessions", "/v1/sessions/S", "/v1/sessions/S/rec": `action` is rec, stop, finish, guests, join, control or
// empty.
std::string sessions_target();
std::string session_target(std::string_view session, std::string_view action = {});

}  // namespace mc::wire
