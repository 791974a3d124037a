// Decode times of a picture stream from its presentation times: containers such as NUT and Matroska carry only those.
//
// A decoder that holds back N pictures shows each one N places later than it decodes it, so the i-th decode time is the
// (i-N)-th presentation time in order. The first N are extrapolated backwards by the frame interval. Times rise
// strictly whatever comes in: presentation times stay exact as signed composition offsets.
#pragma once

#include <cstdint>
#include <vector>

namespace mc::media {

class DecodeTimes {
 public:
  static constexpr std::uint32_t kMaxDelay = 16;  // ISO/IEC 14496-10 A.3.1: MaxDpbFrames

  // `delay`: pictures held back (a larger one is found out from the times themselves). `interval_ticks` > 0.
  DecodeTimes(std::uint32_t delay, std::int64_t interval_ticks);

  // The decode time of the next picture in decode order. The first call must be for a picture that can be shown first.
  std::int64_t next(std::int64_t pts);

 private:
  std::uint32_t delay_;
  std::int64_t interval_ticks_;
  std::vector<std::int64_t> latest_;  // the largest presentation times so far, rising, at most kMaxDelay + 1
  std::int64_t first_ = 0;
  std::int64_t last_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace mc::media
