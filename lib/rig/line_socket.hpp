// JSON lines over a UNIX stream socket: what the agent, its supervisors and mc-capture say to each other. One object a
// line, both ways. Never blocks: a peer that does not read is no peer, and half a line would be worse than none.
//
//   LineSocket peer(std::move(fd));
//   … peer.fd() is readable …
//   for (const json::object& message : peer.take()) …
//   peer.send({{"command", "stop"}});
//   if (!peer.is_open()) …        // it went away, sent nonsense without end, or did not read
//
// Lines that are no JSON object are left out. One thread.
#pragma once

#include <string>
#include <vector>

#include "base/json.hpp"
#include "sys/fd.hpp"

namespace mc::rig {

class LineSocket {
 public:
  LineSocket() = default;
  explicit LineSocket(sys::Fd fd) : fd_(std::move(fd)) {}

  bool is_open() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }
  void close() { *this = LineSocket(); }
  // What has come, without waiting.
  std::vector<json::object> take();
  void send(const json::object& message);

 private:
  sys::Fd fd_;
  std::string pending_;  // up to the next newline
};

}  // namespace mc::rig
