#include "media/timeline.hpp"

#include <sys/timex.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace mc::media {
namespace {

// Of a difference that is found, an eighth is made up for in place and a hundred and twenty-eighth in pace, as a phase
// lock of the second order does with a damping of 0.7: with a look each ten seconds it is settled in two minutes, and a
// single reading, which may be anywhere within its bound, moves little.
constexpr std::int64_t kPlaceParts = 8;
constexpr double kPaceParts = 128;
constexpr std::int64_t kLeastIntervalNs = 10'000'000'000;
// The most of both: clocks are within 100 millionths of each other.
constexpr double kMaxPace = 200e-6;
constexpr std::int64_t kPlacingParts = 2'000;
constexpr std::int64_t kDriftParts = 5'000;    // what two clocks may have drifted apart since they were compared
constexpr std::int64_t kNoStepNs = 2'000'000;  // and what is no step in any case

}  // namespace

Timeline::Timeline(const Clock& clock) : clock_(clock) {
  // The shortest of a few readings: the process may lose the processor in between.
  std::int64_t shortest_ns = -1;
  for (int i = 0; i < 5; ++i) {
    const std::int64_t before = clock.monotonic_ns();
    const std::int64_t wall = clock.wall_ns();
    const std::int64_t took = clock.monotonic_ns() - before;
    if (shortest_ns >= 0 && took >= shortest_ns) continue;
    shortest_ns = took;
    anchor_wall_ns_ = wall;
    anchor_monotonic_ns_ = before + took / 2;
  }
  anchor_suspended_ns_ = clock.suspended_ns();
  bound_us_ = shortest_ns / 2000 + 1;
  timex kernel{};
  if (::adjtimex(&kernel) >= 0) bound_us_ += kernel.maxerror;
  t0_ns_ = anchor_wall_ns_;
}

std::int64_t Timeline::suspended_ns() const {
  const std::int64_t now = clock_.suspended_ns() - anchor_suspended_ns_;
  const std::int64_t seen = suspended_ns_.load(std::memory_order_relaxed);
  if (now < seen + kLeastSuspendNs) return seen;
  suspended_ns_.store(now, std::memory_order_relaxed);
  return now;
}

std::int64_t Timeline::Steering::at(std::int64_t monotonic_ns) const {
  const std::int64_t passed = std::max<std::int64_t>(monotonic_ns - since_ns, 0);
  const std::int64_t most = passed / kPlacingParts;
  return from_ns + std::llround(static_cast<double>(passed) * pace) + std::clamp(place_ns, -most, most);
}

std::int64_t Timeline::steered_ns(std::int64_t monotonic_ns) const {
  const std::lock_guard lock(steering_mutex_);
  return steering_.at(monotonic_ns);
}

std::int64_t Timeline::follow_session(std::int64_t offset_ns, std::int64_t bound_us) {
  const std::int64_t now = clock_.monotonic_ns();
  const std::int64_t read = offset_ns - anchor_wall_ns_ - suspended_ns();
  const std::lock_guard lock(steering_mutex_);
  const std::int64_t passed = now - steering_.since_ns;
  const std::int64_t may_be_off = passed / kDriftParts + (bound_us + bound_us_) * 1000 + kNoStepNs;
  const std::int64_t since_last = read - stepped_ns_ - last_read_ns_;
  const std::int64_t step = std::abs(since_last) > may_be_off ? since_last : 0;
  stepped_ns_ += step;
  last_read_ns_ = read - stepped_ns_;
  bound_us_ = bound_us;

  const std::int64_t is_at = steering_.at(now);
  const std::int64_t off = last_read_ns_ - is_at;
  const double off_pace = static_cast<double>(off) / static_cast<double>(std::max(passed, kLeastIntervalNs));
  steering_ = {now, is_at, off / kPlaceParts, std::clamp(steering_.pace + off_pace / kPaceParts, -kMaxPace, kMaxPace)};
  return step;
}

std::int64_t Timeline::from_session(std::int64_t session_ns) const {
  const std::lock_guard lock(steering_mutex_);
  return session_ns - stepped_ns_;
}

void Timeline::set_session(std::int64_t offset_ns, std::int64_t bound_us) {
  anchor_wall_ns_ = offset_ns;
  anchor_monotonic_ns_ = 0;
  steering_.since_ns = clock_.monotonic_ns();
  anchor_suspended_ns_ = clock_.suspended_ns();
  suspended_ns_ = 0;
  bound_us_ = bound_us;
}

std::optional<std::int64_t> Timeline::end_ns() const {
  const std::int64_t end = end_ns_.load(std::memory_order_relaxed);
  return end == kNoEnd ? std::nullopt : std::optional(end);
}

std::optional<std::int64_t> Timeline::end_ticks(std::uint32_t timescale) const {
  const auto end = end_ns();
  if (!end) return std::nullopt;
  return t0_ticks(timescale) + rescale(*end - t0_ns_, kNanosecondsPerSecond, timescale);
}

std::int64_t Timeline::monotonic_of_device_us(std::int64_t device_us) const {
  constexpr std::int64_t kPlausibleUs = 10'000'000;
  const std::int64_t monotonic = clock_.monotonic_ns();
  if (std::abs(monotonic / 1000 - device_us) < kPlausibleUs) return device_us * 1000;
  const std::int64_t wall = clock_.wall_ns();
  if (std::abs(wall / 1000 - device_us) < kPlausibleUs) return monotonic + device_us * 1000 - wall;
  return monotonic;
}

}  // namespace mc::media
