// Sessions (mc-session(7)): the states of a take, the session document with every decision of the director, and what
// everybody is told of it. The same rules on both ends; nothing here has a clock, a store or a socket.
//
// The document is kept in the store and changed by compare-and-swap; it holds decisions only. Whether a take is Synced
// is not in it: that is derived from the receipts that the store holds, by whoever looks.
//
//   Session next = current;
//   if (auto refused = start_take(next, {.id = key, .now_ns = …}, t0_ns)) … 409 with refused->state
//   … swap `current` for format_session(next); lost the race: read again, try again …
//
// Times are nanoseconds since the Unix epoch on the session clock, which is the server's UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "wire/names.hpp"

namespace mc::wire {

inline constexpr int kSessionVersion = 1;
inline constexpr std::size_t kMaxSessionGuests = 1000;
inline constexpr std::size_t kMaxSessionTakes = 10'000;
inline constexpr std::size_t kMaxSessionBytes = 8 * 1024 * 1024;  // of the document

// --- states -------------------------------------------------------------------------------------------------------

enum class TakeState : std::uint8_t {
  standby,     // the take that a REC would begin
  recording,   // REC was given
  finalizing,  // STOP was given; until the store holds everything
  synced,      // a receipt for every recording of every guest of the take
  incomplete,  // the director forced the end; for good, whatever comes later
};
const char* name(TakeState state);
std::optional<TakeState> parse_take_state(std::string_view text);

enum class TakeCause : std::uint8_t { rec, stop, finish, all_receipts };
// The state behind `cause`; nothing: it is not allowed (rec, stop, finish) or means nothing (all_receipts) there.
std::optional<TakeState> next_state(TakeState state, TakeCause cause);

// --- the document -------------------------------------------------------------------------------------------------

struct RosterEntry {
  std::string guest;
  std::string code_sha256;  // of the join code, salted by the session's id; the code itself is told once
  bool operator==(const RosterEntry&) const = default;
};
// A decision: when, and by which request. A request that is repeated because its answer was lost finds itself.
struct Decision {
  std::int64_t at_ns = 0;
  std::string key;  // the request's Idempotency-Key, or empty
  bool operator==(const Decision&) const = default;
};
struct ForcedFinish {
  Decision decision;
  std::vector<std::string> missing;  // for people, one line each: what the store lacked then
  bool operator==(const ForcedFinish&) const = default;
};
struct Take {
  std::string name;                 // "001"
  std::vector<std::string> guests;  // whose recordings it needs: the roster when it began, and who was added since
  std::int64_t t0_ns = 0;
  Decision rec;
  std::int64_t t1_ns = 0;  // with `stop`
  std::optional<Decision> stop;
  std::optional<ForcedFinish> finish;
  bool operator==(const Take&) const = default;

  // As far as decisions tell: recording, finalizing or incomplete.
  TakeState decided() const;
};
struct Session {
  std::string name;
  std::string id;             // 32 hexadecimal digits
  std::uint64_t version = 1;  // one more with each change
  std::int64_t created_ns = 0;
  Decision created;
  std::vector<RosterEntry> roster;
  std::vector<Take> takes;  // in order; the number of a take is its place from 1
  bool operator==(const Session&) const = default;

  const Take* find(std::string_view take) const;
  const Take* recording() const;  // the take whose decided state is recording, or null
  bool has_guest(std::string_view guest) const;
};

std::string format_session(const Session& session);
Result<Session> parse_session(std::string_view text);  // kind: damaged

// Why a command is not obeyed; `state` is that of the take it was about.
struct Refused {
  TakeState state = TakeState::standby;
  std::string take;  // empty: there is none
  std::string why;   // for people
};
// Each changes `session` (and its version), or says why not and leaves it as it is. A decision whose key is that of the
// decision that stands is a repetition: nothing is refused and nothing changes.
std::optional<Refused> start_take(Session& session, const Decision& decision, std::int64_t t0_ns);
// `take` empty: the one that is recording.
std::optional<Refused> stop_take(Session& session, std::string_view take, const Decision& decision);
// `state` is the take's own, with the receipts looked at. `take` must be named.
std::optional<Refused> finish_take(Session& session, std::string_view take, TakeState state, const Decision& decision,
                                   std::vector<std::string> missing);
// In the roster and in the take that is recording. False: it was there already.
bool add_guest(Session& session, RosterEntry entry);

// T0 of a REC at `now_ns`: far enough ahead for the guest with the longest round trip, and two seconds at least.
std::int64_t start_time_ns(std::int64_t now_ns, std::int64_t worst_round_trip_ns);

std::string take_name(std::size_t number);  // 1: "001"

}  // namespace mc::wire
