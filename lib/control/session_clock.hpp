// The session clock as a rig knows it: by how much session time is ahead of its own CLOCK_MONOTONIC, and how wrong that
// can be (mc-session(7), "The clock exchange"; RFC 5905 section 8). Pure: whoever exchanges says what came of it.
//
//   SessionClock clock;
//   clock.add({t1, answer.t2_us, answer.t3_us, t4});
//   if (const auto now = clock.at(monotonic_us)) … session time is monotonic_us + now->offset_us, give or take
//                                                  now->bound_us
//
// Of the last samples that one counts whose bound is the least at the moment: half of its round trip, and what two
// clocks can drift apart since (100 millionths). However asymmetric the way is, the truth lies within. The rig's wall
// clock has no part in it, so its steps reach nothing. When the server's clock is stepped, samples contradict each
// other: the newest is believed, and the older ones are forgotten.
//
// All times in microseconds. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace mc::control {

struct ClockSample {
  std::int64_t t1_us = 0, t2_us = 0, t3_us = 0, t4_us = 0;  // t1 and t4: CLOCK_MONOTONIC here; t2 and t3: session time
};

class SessionClock {
 public:
  enum class Added : std::uint8_t {
    taken,
    stepped,   // taken, and everything before it contradicts it
    nonsense,  // no exchange can have had these times: left out
  };
  Added add(const ClockSample& sample);

  struct Estimate {
    std::int64_t offset_us = 0;  // session time minus CLOCK_MONOTONIC
    std::int64_t bound_us = 0;
    std::int64_t sampled_us = 0;  // when: CLOCK_MONOTONIC at the sample's t4
  };
  // Nothing: no sample yet.
  std::optional<Estimate> at(std::int64_t monotonic_us) const;
  // The longest of the samples that are kept: what a command may take to get here. Nothing: no sample yet.
  std::optional<std::int64_t> worst_round_trip_us() const;

 private:
  struct Kept {
    std::int64_t offset_us, round_trip_us, at_us;
  };
  static std::int64_t bound_of(const Kept& sample, std::int64_t monotonic_us);

  std::deque<Kept> samples_;  // the newest last
};

}  // namespace mc::control
