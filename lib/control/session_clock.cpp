#include "control/session_clock.hpp"

#include <algorithm>
#include <cstdlib>

namespace mc::control {
namespace {

constexpr std::size_t kMostSamples = 64;
constexpr std::int64_t kDriftParts = 10'000;  // one in so many: 100 millionths
// Some 36,000 years either way: sums of four of them do not overflow.
constexpr std::int64_t kMostUs = std::int64_t{1} << 60;

}  // namespace

std::int64_t SessionClock::bound_of(const Kept& sample, std::int64_t monotonic_us) {
  const std::int64_t age_us = std::abs(monotonic_us - sample.at_us);
  // Rounded up, and a microsecond for what the time stamps themselves leave out.
  return (sample.round_trip_us + 1) / 2 + age_us / kDriftParts + 2;
}

SessionClock::Added SessionClock::add(const ClockSample& sample) {
  for (const std::int64_t t : {sample.t1_us, sample.t2_us, sample.t3_us, sample.t4_us}) {
    if (t <= -kMostUs || t >= kMostUs) return Added::nonsense;
  }
  const std::int64_t there_us = sample.t3_us - sample.t2_us, here_us = sample.t4_us - sample.t1_us;
  // The server's clock may run faster than ours while it holds the question, by as much as clocks differ.
  if (there_us < 0 || here_us < 0 || there_us > here_us + here_us / kDriftParts + 2) return Added::nonsense;
  Kept kept{};
  kept.round_trip_us = std::max<std::int64_t>(here_us - there_us, 0);
  kept.offset_us = (sample.t2_us - sample.t1_us + sample.t3_us - sample.t4_us) / 2;
  kept.at_us = sample.t4_us;

  Added added = Added::taken;
  const auto contradicts = [&](const Kept& older) {
    const std::int64_t apart_us = std::abs(older.offset_us - kept.offset_us);
    return apart_us > bound_of(older, kept.at_us) + bound_of(kept, kept.at_us);
  };
  if (std::ranges::any_of(samples_, contradicts)) {
    samples_.clear();
    added = Added::stepped;
  }
  samples_.push_back(kept);
  if (samples_.size() > kMostSamples) samples_.pop_front();
  return added;
}

std::optional<SessionClock::Estimate> SessionClock::at(std::int64_t monotonic_us) const {
  if (samples_.empty()) return std::nullopt;
  const auto best =
      std::ranges::min_element(samples_, {}, [&](const Kept& sample) { return bound_of(sample, monotonic_us); });
  return Estimate{best->offset_us, bound_of(*best, monotonic_us), best->at_us};
}

std::optional<std::int64_t> SessionClock::worst_round_trip_us() const {
  if (samples_.empty()) return std::nullopt;
  return std::ranges::max_element(samples_, {}, &Kept::round_trip_us)->round_trip_us;
}

}  // namespace mc::control
