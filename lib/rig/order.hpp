// What a supervisor is to do, on disk: written before it is obeyed, so that whoever takes over after a crash knows it.
//
// The file `order` in the supervisor's directory, one JSON object, replaced as a whole (staged, synced, renamed). The
// agent writes the first one; the supervisor every later one.
//
// Where recordings and the agent's own files lie below the spool:
//   SESSION/TAKE/GUEST                a recording (mc-spool-format(5))
//   .guest/SESSION/GUEST/             the agent's: lock, token, key.pem
//   .guest/SESSION/GUEST/N/           the N-th supervisor's: order, lock, socket, capture.socket, log, push.jsonl
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/json.hpp"
#include "sys/file_system.hpp"

namespace mc::rig {

inline constexpr char kOrderName[] = "order";
inline constexpr char kLockName[] = "lock";
inline constexpr char kSocketName[] = "socket";
inline constexpr char kCaptureSocketName[] = "capture.socket";
inline constexpr char kLogName[] = "log";
inline constexpr char kPushLogName[] = "push.jsonl";

// Session time minus CLOCK_MONOTONIC of the boot `boot_id`. Of another boot it means nothing.
struct ClockReading {
  std::int64_t offset_us = 0, bound_us = 0;
  std::string boot_id;
  bool operator==(const ClockReading&) const = default;
};

struct Order {
  // From the beginning.
  std::string session, session_id, guest;
  std::string spool, server;
  std::string token_file, ca_file, key_file, limit_rate;  // empty: none
  std::vector<std::string> capture;                       // arguments of mc-capture
  // REC. No take: standby.
  std::string take;
  std::string directory;  // of the recording
  std::int64_t t0_ns = 0;
  std::optional<ClockReading> clock;
  // STOP.
  bool stopped = false;
  std::optional<std::int64_t> t1_ns;  // nothing: at once
  // What came of it.
  bool closed = false;  // the manifest has its end
  bool synced = false;  // the receipt is there
  std::string failed;   // nothing was recorded, and why
  bool operator==(const Order&) const = default;

  bool is_over() const { return synced || !failed.empty() || (stopped && take.empty()); }
};
// `offset_us` and `bound_us`, and `boot_id` where it is there: of an order, and of what an agent says. Nothing: not
// both.
std::optional<ClockReading> clock_from_json(const json::object& o);
json::object to_json(const Order& order);
Result<Order> order_from_json(const json::object& o);  // kind: damaged

Result<Order> load_order(sys::FileSystem& fs, const std::string& directory);
// Durable when it returns.
Status keep_order(sys::FileSystem& fs, const std::string& directory, const Order& order);

// This boot's, from the kernel; empty where it does not say.
std::string boot_id();
// The reading, if it is of this boot; else the rig's own wall clock, with a bound that says how little that is worth.
ClockReading usable_clock(const std::optional<ClockReading>& kept);

// Where the recording of a take is to lie: SPOOL/SESSION/TAKE/GUEST, or GUEST~2, ~3, … when a closed recording lies
// there already. An open one is gone on with.
std::string choose_directory(sys::FileSystem& fs, const Order& order);

}  // namespace mc::rig
