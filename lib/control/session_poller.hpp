// Asks for a session again and again, while the control connection cannot: the second way of a ControlLink. Private to
// it. One thread of its own; the destructor ends a request in the middle.
#pragma once

#include <atomic>
#include <thread>

#include "control/link_state.hpp"
#include "control/session_client.hpp"

namespace mc::control {

class SessionPoller {
 public:
  // `state` is borrowed, and outlives it.
  static Result<std::unique_ptr<SessionPoller>> open(const ControlLinkOptions& options, LinkState& state);
  ~SessionPoller();

 private:
  SessionPoller(const ControlLinkOptions& options, LinkState& state, sys::Wakeup stop, SessionClient client);
  void run();

  const std::string session_;
  const std::int64_t every_us_;
  LinkState& state_;
  const sys::Wakeup stop_;
  std::atomic<bool> is_stopping_ = false;
  SessionClient client_;
  std::thread thread_;
};

}  // namespace mc::control
