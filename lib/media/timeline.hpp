// The capture's one clock: Unix-epoch time that was read once and is carried on by CLOCK_MONOTONIC, so that no step of
// the wall clock reaches a time stamp; and t0, the recording's zero on it. With `set_session` it is the session clock
// instead (mc-session(7)). That clock stands while the machine is suspended: such a pause is added when it is over, so
// that what comes behind it is where it was captured.
//
// The session clock and CLOCK_MONOTONIC drift apart, by a second in some hours. So what is learned of the session clock
// while the recording runs is followed: slowly, so that no frame comes before another and none is told as a hole. A
// difference that no drift makes is a step of the session clock, and is left out for good: the other recordings of the
// take stay where they are, too.
//
// Calling sequence: set_session (if at all), set_t0 and set_source_zero, in one thread; then arm(). Another thread
// looks at is_armed() first; then everything is safe from any thread. monotonic_of_device_us always is.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>

#include "base/clock.hpp"
#include "base/units.hpp"

namespace mc::media {

class Timeline {
 public:
  static constexpr std::int64_t kLeastSuspendNs = 100'000'000;  // less is how exactly two clocks can be read

  // Reads both clocks. `bound_us()` is how far the wall clock may be off by the kernel's own account (adjtimex(2)), and
  // the time that reading took.
  explicit Timeline(const Clock& clock);

  std::int64_t now_ns() const { return from_monotonic(clock_.monotonic_ns()); }
  std::int64_t from_monotonic(std::int64_t monotonic_ns) const {
    return anchor_wall_ns_ + monotonic_ns - anchor_monotonic_ns_ + suspended_ns() + steered_ns(monotonic_ns);
  }
  // How much of it the machine was suspended.
  std::int64_t suspended_ns() const;
  std::int64_t bound_us() const { return bound_us_.load(std::memory_order_relaxed); }
  // Where the system's wall clock is now against this one: it has been stepped or slewed by so much.
  std::int64_t wall_offset_ns() const { return clock_.wall_ns() - now_ns(); }

  // From now on it is the session clock, which is CLOCK_MONOTONIC + `offset_ns`, right within `bound_us`.
  void set_session(std::int64_t offset_ns, std::int64_t bound_us);
  // The same while it runs. By how much the session clock has been stepped, if it has: a positive step is one ahead.
  std::int64_t follow_session(std::int64_t offset_ns, std::int64_t bound_us);
  // A time of the session clock as it is now, on this timeline, which has taken no part in its steps.
  std::int64_t from_session(std::int64_t session_ns) const;
  // The session clock minus CLOCK_MONOTONIC as this timeline has it now.
  std::int64_t session_offset_ns() const { return now_ns() - clock_.monotonic_ns(); }
  void set_t0(std::int64_t ns) { t0_ns_ = ns; }
  // Where the first sample of a file or a synthetic source is.
  void set_source_zero(std::int64_t ns) { source_zero_ns_ = ns; }
  void arm() { armed_.store(true, std::memory_order_release); }
  bool is_armed() const { return armed_.load(std::memory_order_acquire); }
  // Where the recording ends; may be set, and moved, at any time.
  void set_end(std::int64_t ns) { end_ns_.store(ns, std::memory_order_relaxed); }
  std::optional<std::int64_t> end_ns() const;
  std::int64_t t0_ns() const { return t0_ns_; }
  // t0 in ticks of a stream, rounded; t0 + n ticks is its n-th tick.
  std::int64_t t0_ticks(std::uint32_t timescale) const { return rescale(t0_ns_, kNanosecondsPerSecond, timescale); }
  std::int64_t source_zero_ticks(std::uint32_t timescale) const {
    return rescale(source_zero_ns_, kNanosecondsPerSecond, timescale);
  }
  std::optional<std::int64_t> end_ticks(std::uint32_t timescale) const;

  // A device's own time stamp, in microseconds of CLOCK_MONOTONIC or of the wall clock (devices differ), as monotonic
  // time. One that is neither (none at all, or nonsense) is now.
  std::int64_t monotonic_of_device_us(std::int64_t device_us) const;

 private:
  const Clock& clock_;
  std::int64_t anchor_suspended_ns_ = 0;
  mutable std::atomic<std::int64_t> suspended_ns_{0};  // since the anchor, as last seen
  std::int64_t anchor_wall_ns_ = 0;
  std::int64_t anchor_monotonic_ns_ = 0;
  std::atomic<std::int64_t> bound_us_{0};
  // Under the mutex: what is added to the offset of the beginning, on its way to what it should be.
  std::int64_t steered_ns(std::int64_t monotonic_ns) const;
  struct Steering {
    std::int64_t since_ns = 0;  // monotonic
    std::int64_t from_ns = 0;
    std::int64_t place_ns = 0;  // more, as fast as may be
    double pace = 0;            // and of all time that passes
    std::int64_t at(std::int64_t monotonic_ns) const;
  };
  mutable std::mutex steering_mutex_;
  Steering steering_;
  std::int64_t last_read_ns_ = 0;  // what it should have been
  std::int64_t stepped_ns_ = 0;
  std::int64_t t0_ns_ = 0;
  std::int64_t source_zero_ns_ = 0;
  std::atomic<bool> armed_{false};
  static constexpr std::int64_t kNoEnd = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> end_ns_{kNoEnd};
};

}  // namespace mc::media
