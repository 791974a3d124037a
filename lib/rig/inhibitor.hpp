// Keeps the machine from being shut down or put to sleep by its users while a recording is not Synced, where logind is
// there to ask: runs systemd-inhibit(1) with a child that ends when we do, however that is.
//
//   inhibitor.hold("recording studio-a/001 is not on the server yet");   // as often as wanted; until it is destroyed
//
// Where it cannot be had (no systemd, no right to it) the recording goes on without. One thread.
#pragma once

#include <optional>
#include <string>

#include "base/log.hpp"
#include "sys/process.hpp"

namespace mc::rig {

class Inhibitor {
 public:
  explicit Inhibitor(Log log) : log_(std::move(log)) {}

  void hold(const std::string& why);

 private:
  Status start(const std::string& why);

  Log log_;
  bool asked_ = false;
  std::optional<sys::Process> holder_;
  sys::Fd held_;  // its end ends the holder
};

}  // namespace mc::rig
