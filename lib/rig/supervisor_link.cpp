#include "rig/supervisor_link.hpp"

#include "base/clock.hpp"
#include "rig/monotonic.hpp"
#include "sys/local_socket.hpp"

namespace mc::rig {
namespace {

constexpr std::int64_t kTellAgainNs = 500'000'000;
constexpr std::int64_t kStartAgainNs = 500'000'000;

}  // namespace

SupervisorLink::SupervisorLink(sys::FileSystem& fs, std::string directory, Log log)
    : fs_(fs), directory_(std::move(directory)), log_(std::move(log)) {
  if (auto order = load_order(fs_, directory_)) take_order(std::move(*order));
}

void SupervisorLink::take_order(Order order) {
  order_ = std::move(order);
  over_ = order_.is_over();
  stopped_ = order_.stopped;
  telemetry_.take = order_.take;
  telemetry_.state = order_.synced            ? "synced"
                     : !order_.failed.empty() ? "failed"
                     : order_.take.empty()    ? "preparing"
                     : order_.stopped         ? "finalizing"
                                              : "recording";
}

void SupervisorLink::look() {
  if (over_) return;
  if (!socket_.is_open()) {
    if (auto fd = sys::connect_local(sys::join_path(directory_, kSocketName))) {
      socket_ = LineSocket(std::move(*fd));
      tell_at_ns_ = 0;
    }
  }
  const bool was_open = socket_.is_open();
  for (const json::object& message : socket_.take()) hear(message);
  if (process_ && process_->status()) {
    process_.reset();
    lost();
  } else if (was_open && !socket_.is_open() && !process_) {
    lost();
  }
  if (over_) return;
  if (!socket_.is_open() && !process_ && monotonic_ns() >= start_at_ns_) start();
  tell();
}

void SupervisorLink::lost() {
  socket_.close();
  if (auto order = load_order(fs_, directory_)) {
    take_order(std::move(*order));
  } else {
    log_(LogLevel::error, order.error().message);
    start_at_ns_ = monotonic_ns() + kStartAgainNs;
  }
  if (!over_) log_(LogLevel::warning, "the supervisor of '" + directory_ + "' died; it is started again");
}

void SupervisorLink::start() {
  start_at_ns_ = monotonic_ns() + kStartAgainNs;
  const auto log_file = sys::open_output(sys::join_path(directory_, kLogName));
  const auto program = sys::find_sibling_program("mc-guest");
  if (!program) return log_(LogLevel::error, program.error().message);
  auto process = sys::Process::start({.program = *program,
                                      .arguments = {"supervise", directory_},
                                      .err_fd = log_file ? log_file->get() : -1,
                                      .own_session = true});
  if (!process) return log_(LogLevel::error, process.error().message);
  process_ = std::move(*process);
}

void SupervisorLink::hear(const json::object& status) {
  if (json::get_string(status, "event") != "status") return;
  auto telemetry = wire::telemetry_from_json(status);
  if (!telemetry) return;
  telemetry_ = std::move(*telemetry);
  stopped_ = json::get_bool(status, "stopped").value_or(false);
  capturing_ = json::get_bool(status, "capturing").value_or(false);
  // It was told to end in standby, but an earlier agent had given it a take.
  if (stop_wanted_ && stop_take_.empty() && !telemetry_.take.empty()) stop_wanted_ = false;
}

bool SupervisorLink::has_obeyed() const {
  return (!start_ || telemetry_.take == start_->take) && (!stop_wanted_ || stopped_);
}

void SupervisorLink::tell() {
  if (!socket_.is_open() || has_obeyed() || monotonic_ns() < tell_at_ns_) return;
  tell_at_ns_ = monotonic_ns() + kTellAgainNs;
  if (start_ && telemetry_.take != start_->take) {
    json::object command{{"command", "record"},
                         {"session_id", start_->session_id},
                         {"take", start_->take},
                         {"t0", format_utc(start_->t0_ns)}};
    if (start_->clock) {
      command["offset_us"] = start_->clock->offset_us;
      command["bound_us"] = start_->clock->bound_us;
    }
    socket_.send(command);
  }
  if (stop_wanted_ && !stopped_) {
    json::object command{{"command", "stop"}, {"take", stop_take_}};
    if (t1_ns_) command["t1"] = format_utc(*t1_ns_);
    socket_.send(command);
  }
}

void SupervisorLink::add_to(std::vector<pollfd>& wanted) const {
  if (socket_.is_open()) wanted.push_back({socket_.fd(), POLLIN, 0});
  if (process_) wanted.push_back({process_->fd(), POLLIN, 0});
}

void SupervisorLink::record(TakeStart start) {
  start_ = std::move(start);
  tell_at_ns_ = 0;
  tell();
}

void SupervisorLink::stop(std::optional<std::int64_t> t1_ns) {
  if (stop_wanted_) return;
  stop_wanted_ = true;
  stop_take_ = take();
  t1_ns_ = t1_ns;
  tell_at_ns_ = 0;
  tell();
}

void SupervisorLink::tell_clock(const ClockReading& clock) {
  socket_.send({{"command", "clock"}, {"offset_us", clock.offset_us}, {"bound_us", clock.bound_us}});
}

void SupervisorLink::remove() {
  const auto entries = fs_.list(directory_);
  if (!entries) return;
  // The order last: what is left by a crash in between is still known to be over.
  for (const auto& entry : *entries) {
    if (entry.name != kOrderName) (void)fs_.remove(sys::join_path(directory_, entry.name));
  }
  (void)fs_.remove(sys::join_path(directory_, kOrderName));
  (void)fs_.remove_directory(directory_);
}

}  // namespace mc::rig
