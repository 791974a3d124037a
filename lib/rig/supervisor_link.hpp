// The agent's hold on one supervisor: starts it, finds it again, repeats what it is to do until it says that it does,
// and starts it anew when it died before its time.
//
//   SupervisorLink link(fs, directory);          // a supervisor's directory, with its first order in it
//   link.look();                                 // again and again; poll(2) on what add_to() adds meanwhile
//   link.record({…}); link.stop(t1_ns);          // wanted from here on
//   if (link.is_over()) link.remove();
//
// The supervisor is in a session of its own and holds nothing of ours: it does not notice that we end.
// One thread.
#pragma once

#include <poll.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "rig/line_socket.hpp"
#include "rig/order.hpp"
#include "sys/process.hpp"
#include "wire/session_view.hpp"

namespace mc::rig {

struct TakeStart {
  std::string session_id, take;
  std::int64_t t0_ns = 0;
  std::optional<ClockReading> clock;
};

class SupervisorLink {
 public:
  SupervisorLink(sys::FileSystem& fs, std::string directory, Log log);

  void look();
  void add_to(std::vector<pollfd>& wanted) const;

  void record(TakeStart start);
  void stop(std::optional<std::int64_t> t1_ns);
  void tell_clock(const ClockReading& clock);

  const std::string& directory() const { return directory_; }
  // As the supervisor said last, or as its order says as long as it says nothing.
  const wire::Telemetry& telemetry() const { return telemetry_; }
  // What it is wanted for, obeyed already or not. Empty: standby.
  const std::string& take() const { return start_ ? start_->take : telemetry_.take; }
  std::string session_id() const { return start_ ? start_->session_id : order_.session_id; }
  bool is_stopping() const { return stop_wanted_ || stopped_; }
  bool has_obeyed() const;  // all that it was told so far
  bool is_capturing() const { return capturing_; }
  // Synced, failed, or ended in standby: nothing of it is left to be done.
  bool is_over() const { return over_; }
  const Order& order() const { return order_; }
  void remove();  // the directory; for one that is over

 private:
  void start();
  void hear(const json::object& status);
  void lost();
  void tell();
  void take_order(Order order);

  sys::FileSystem& fs_;
  std::string directory_;
  Log log_;
  Order order_;  // as it was on the disk when it was looked at last
  LineSocket socket_;
  std::optional<sys::Process> process_;
  wire::Telemetry telemetry_;
  bool stopped_ = false, capturing_ = true, over_ = false;
  std::optional<TakeStart> start_;
  bool stop_wanted_ = false;
  std::string stop_take_;  // it is meant for
  std::optional<std::int64_t> t1_ns_;
  std::int64_t tell_at_ns_ = 0, start_at_ns_ = 0;
};

}  // namespace mc::rig
