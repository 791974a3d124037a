// What a service manager hands over and wants to be told, without its library: sd_notify(3), sd_listen_fds(3),
// sd_watchdog_enabled(3). Where there is none, all of this does nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "sys/fd.hpp"

namespace mc::sys {

// "READY=1", "STOPPING=1", …: one datagram to NOTIFY_SOCKET. Never waits for the reader. Kind: io.
Status notify_service_manager(std::string_view state);

// Writes `line` and a newline to the descriptor that --notify-fd named (nothing when it is negative), and tells the
// service manager READY=1. Called once, when the program is really ready.
Status notify_ready(int notify_fd, const std::string& line);

// The listening sockets that were opened for this process (LISTEN_FDS, from descriptor 3 on), owned by the caller from
// here on and closed on exec. Empty when there are none, or when they are for another process (LISTEN_PID). Called
// once: the variables are taken out of the environment, so that no child takes them for its own. Kind: config.
Result<std::vector<Fd>> take_inherited_sockets();

// Keeps the service manager's watchdog quiet, for as long as somebody calls feed(). WATCHDOG_PID is not looked at: of a
// pipeline the manager knows the shell only, and it is the end of the pipeline that knows whether all of it works.
class Watchdog {
 public:
  explicit Watchdog(const Clock& clock = system_clock());
  bool is_wanted() const { return interval_ns_ > 0; }
  // Cheap, and may be called for each frame: tells at most four times in an interval.
  void feed();

 private:
  const Clock& clock_;
  std::int64_t interval_ns_ = 0;
  std::int64_t next_ns_ = 0;
};

}  // namespace mc::sys
