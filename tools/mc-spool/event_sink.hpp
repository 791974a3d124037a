// Where acknowledgements go (--events): JSON lines to a descriptor or a UNIX stream socket, never waiting for the
// reader. What the reader does not take in time is dropped and counted; the next line that fits says how many
// ("lost"). A reader that goes away is no reason to stop.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.hpp"
#include "sys/fd.hpp"

namespace mc::tool_spool {

class EventSink {
 public:
  EventSink() = default;  // sends nothing
  // `where`: "3" or "unix:/run/x.sock". Kinds: usage, and those of the system.
  static Result<EventSink> open(const std::string& where);

  bool active() const { return fd_.valid(); }
  void send(const json::object& event);

 private:
  bool write_now(std::string_view text);

  sys::Fd fd_;
  std::string rest_;  // of a line that went out in part
  std::uint64_t lost_ = 0;
};

}  // namespace mc::tool_spool
