#include "rig/order.hpp"

#include <array>
#include <utility>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "spool/manifest_follower.hpp"
#include "spool/publish.hpp"

namespace mc::rig {
namespace {

constexpr std::uint64_t kMaxOrderBytes = 1 << 20;
constexpr std::int64_t kUnknownBoundUs = 10'000'000;

// The members that are texts, by their names in the file. An empty one is not written.
constexpr std::pair<const char*, std::string Order::*> kTexts[] = {
    {"session", &Order::session}, {"session_id", &Order::session_id}, {"guest", &Order::guest},
    {"spool", &Order::spool},     {"server", &Order::server},         {"token_file", &Order::token_file},
    {"ca_file", &Order::ca_file}, {"key_file", &Order::key_file},     {"limit_rate", &Order::limit_rate},
    {"take", &Order::take},       {"directory", &Order::directory},   {"failed", &Order::failed},
};

}  // namespace

json::object to_json(const Order& order) {
  json::object o;
  for (const auto& [key, member] : kTexts) {
    if (!(order.*member).empty()) o[key] = order.*member;
  }
  o["capture"] = json::array(order.capture.begin(), order.capture.end());
  if (!order.take.empty()) o["t0"] = format_utc(order.t0_ns);
  if (order.clock) {
    o["clock"] = {
        {"offset_us", order.clock->offset_us}, {"bound_us", order.clock->bound_us}, {"boot_id", order.clock->boot_id}};
  }
  o["stopped"] = order.stopped;
  if (order.t1_ns) o["t1"] = format_utc(*order.t1_ns);
  o["closed"] = order.closed;
  o["synced"] = order.synced;
  return o;
}

std::optional<ClockReading> clock_from_json(const json::object& o) {
  const auto offset_us = json::get_int(o, "offset_us"), bound_us = json::get_int(o, "bound_us");
  if (!offset_us || !bound_us) return std::nullopt;
  return ClockReading{*offset_us, *bound_us, json::get_string(o, "boot_id").value_or("")};
}

Result<Order> order_from_json(const json::object& o) {
  Order order;
  for (const auto& [key, member] : kTexts) order.*member = json::get_string(o, key).value_or("");
  if (order.session.empty() || order.guest.empty() || order.spool.empty() || order.server.empty()) {
    return fail(ErrorKind::damaged, "an order without session, guest, spool or server");
  }
  if (const auto* list = o.if_contains("capture"); list != nullptr && list->is_array()) {
    for (const json::value& argument : list->as_array()) {
      if (!argument.is_string()) return fail(ErrorKind::damaged, "an order whose capture arguments are no texts");
      order.capture.emplace_back(argument.as_string());
    }
  }
  if (!order.take.empty()) {
    MC_TRY_ASSIGN(order.t0_ns, parse_utc(json::get_string(o, "t0").value_or("")));
    if (order.directory.empty()) return fail(ErrorKind::damaged, "an order with a take and no directory");
  }
  if (const auto* clock = o.if_contains("clock"); clock != nullptr && clock->is_object()) {
    order.clock = clock_from_json(clock->as_object());
  }
  order.stopped = json::get_bool(o, "stopped").value_or(false);
  if (o.contains("t1")) {
    MC_TRY_ASSIGN(order.t1_ns, parse_utc(json::get_string(o, "t1").value_or("")));
  }
  order.closed = json::get_bool(o, "closed").value_or(false);
  order.synced = json::get_bool(o, "synced").value_or(false);
  return order;
}

Result<Order> load_order(sys::FileSystem& fs, const std::string& directory) {
  const std::string path = sys::join_path(directory, kOrderName);
  MC_TRY_ASSIGN(const ByteBuffer bytes, sys::read_file(fs, path, kMaxOrderBytes));
  const auto parsed = json::parse_object(as_text(bytes));
  if (!parsed) return fail(Error(parsed.error()).within("'" + path + "'"));
  auto order = order_from_json(*parsed);
  if (!order) return fail(Error(order.error()).within("'" + path + "'"));
  return order;
}

Status keep_order(sys::FileSystem& fs, const std::string& directory, const Order& order) {
  spool::DiskErrors errors(no_log());
  return spool::publish_durably(fs, directory, kOrderName, as_bytes(json::to_text(to_json(order)) + "\n"), errors);
}

std::string boot_id() {
  const auto file = sys::real_file_system().open_read("/proc/sys/kernel/random/boot_id");
  if (!file) return {};
  std::array<std::uint8_t, 36> text{};  // RFC 9562 section 4
  const auto n = (*file)->read_at(0, text);
  return n ? std::string(as_text({text.data(), *n})) : std::string();
}

ClockReading usable_clock(const std::optional<ClockReading>& kept) {
  std::string boot = boot_id();
  if (kept && !boot.empty() && kept->boot_id == boot) return *kept;
  const Clock& clock = system_clock();
  return {(clock.wall_ns() - clock.monotonic_ns()) / 1000, kUnknownBoundUs, std::move(boot)};
}

std::string choose_directory(sys::FileSystem& fs, const Order& order) {
  const std::string take = sys::join_path(sys::join_path(order.spool, order.session), order.take);
  for (int n = 1;; ++n) {
    std::string directory = sys::join_path(take, order.guest + (n == 1 ? "" : "~" + std::to_string(n)));
    if (!spool::looks_closed(fs, directory)) return directory;
  }
}

}  // namespace mc::rig
