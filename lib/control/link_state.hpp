// What the two ways to a session find out, and what their owner has to say: the one thing that all threads of a
// ControlLink share, under one mutex. Private to control_link.
//
// Of views the newest counts. Which one that is, is decided by what it answers: whoever asked after the known view had
// come gets a newer one, whatever its version. What comes by itself, or was asked before, is newer only if it is of the
// same session and its version is not lower.
//
// Any thread. The log is never called with the mutex held.
#pragma once

#include <mutex>
#include <string>

#include "base/clock.hpp"
#include "control/control_link.hpp"
#include "sys/signals.hpp"

namespace mc::control {

inline std::int64_t monotonic_us() { return system_clock().monotonic_ns() / 1000; }

class LinkState {
 public:
  static Result<std::unique_ptr<LinkState>> open(const ControlLinkOptions& options);

  // For the owner.
  int news_fd() const { return news_.fd(); }
  ControlLink::News take();
  void set_telemetry(wire::Telemetry telemetry);
  std::optional<SessionClock::Estimate> clock_at(std::int64_t monotonic_us) const;
  std::optional<std::int64_t> worst_round_trip_us() const;

  // For both ways. `asked_us`: when what this answers was asked; nothing: it came by itself. Kind protocol: it is not
  // a view of this session at all.
  Status show(wire::SessionView view, std::optional<std::int64_t> asked_us);

  // For the connection.
  void came_online();
  void stayed_offline(Error why);
  void set_quiet(bool is_quiet);  // nothing was heard for a while
  void add_sample(const ClockSample& sample);
  // As it is to be sent now; nothing: there is none yet.
  std::optional<wire::Telemetry> telemetry() const;
  std::uint64_t telemetry_count() const;  // another number: it is not the same any more

  // For polling.
  void polled(std::optional<Error> failure);
  bool wants_polling() const;
  const sys::Wakeup& poller() const { return poller_; }  // poked when wants_polling() is another one

 private:
  LinkState(const ControlLinkOptions& options, sys::Wakeup news, sys::Wakeup poller)
      : session_(options.session),
        guest_(options.guest),
        log_(options.log),
        news_(std::move(news)),
        poller_(std::move(poller)) {}
  std::optional<Error> trouble() const;
  void note_trouble(std::optional<Error>& of_a_way, std::optional<Error> now);

  const std::string session_, guest_;
  const Log log_;
  const sys::Wakeup news_, poller_;

  mutable std::mutex mutex_;
  std::optional<wire::SessionView> untaken_;
  struct Known {
    std::string id;
    std::uint64_t version = 0;
    std::int64_t since_us = 0;
  };
  std::optional<Known> known_;
  bool is_online_ = false, is_quiet_ = false;
  std::optional<Error> connection_trouble_, polling_trouble_;
  SessionClock clock_;
  bool has_stepped_ = false;  // the last sample did
  std::optional<wire::Telemetry> telemetry_;
  std::uint64_t telemetry_count_ = 0;
};

}  // namespace mc::control
