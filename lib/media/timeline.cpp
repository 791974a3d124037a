#include "media/timeline.hpp"

#include <sys/timex.h>

#include <algorithm>
#include <cstdlib>

namespace mc::media {

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

void Timeline::set_session(std::int64_t offset_ns, std::int64_t bound_us) {
  anchor_wall_ns_ = offset_ns;
  anchor_monotonic_ns_ = 0;
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
