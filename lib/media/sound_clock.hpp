// When each sample of a stream was captured, in whole ticks of its own rate on the capture clock.
//
// A sound card's crystal and the computer's clock disagree by some tens of ppm, which is a second a day. Samples are
// never touched: sample n is at tick n + offset(n), and the offset follows the measured times slowly, by a tick now and
// then. It is the durations between packets that carry the drift. A measured time can be too late (the samples waited
// somewhere) but not too early, so the earliest of the last half second counts. Samples are missing when even that is
// too late; the hole is then told that half second behind its place. A source whose samples are the clock (a file, a
// synthetic one) never moves by ticks; only a hole moves it, at once.
//
// Calling sequence: measure() for each block of samples as it comes, then at() for positions up to the last measured
// one. Not for two threads at once.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace mc::media {

enum class ClockKind : std::uint8_t {
  device,   // steered to the measured times
  samples,  // the count is the clock
};

class SoundClock {
 public:
  SoundClock(ClockKind kind, std::uint32_t rate) : kind_(kind), rate_(rate) {}

  // A measured time further off than this is a hole, not drift or jitter: 50 ms, of a device 100 ms.
  std::int64_t hole_ticks() const { return kind_ == ClockKind::device ? rate_ / 10 : rate_ / 20; }

  // Sample `n` was captured at `ticks`. The answer: how many ticks are missing in front of it (0 = none).
  std::int64_t measure(std::int64_t n, std::int64_t ticks);
  // The tick of sample `n`. Positions before the first measured one are extrapolated; older segments than needed are
  // forgotten.
  std::int64_t at(std::int64_t n);

  // The same for what was measured last, without forgetting anything.
  std::int64_t latest(std::int64_t n) const { return segments_.empty() ? n : n + segments_.back().offset; }

  // Of the device against the capture clock, since the last hole, in parts per thousand million, positive when the
  // device is fast. Nothing: it is not known yet, or there is none.
  std::optional<std::int64_t> drift_ppb() const;

 private:
  struct Segment {
    std::int64_t first = 0;   // sample
    std::int64_t offset = 0;  // ticks
  };
  std::int64_t jump(std::int64_t n, std::int64_t offset);
  void move_to(std::int64_t n, std::int64_t offset);

  ClockKind kind_;
  std::uint32_t rate_;
  std::deque<Segment> segments_;
  std::deque<Segment> measured_;  // of the last half second
  double offset_ = 0;             // as steered, with its fraction
  std::int64_t last_n_ = 0;       // of the last measurement
  std::int64_t since_n_ = 0;      // of the start, or the last hole
  double since_offset_ = 0;
};

}  // namespace mc::media
