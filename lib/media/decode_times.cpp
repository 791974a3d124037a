#include "media/decode_times.hpp"

#include <algorithm>

namespace mc::media {

DecodeTimes::DecodeTimes(std::uint32_t delay, std::int64_t interval_ticks)
    : delay_(std::min(delay, kMaxDelay)), interval_ticks_(std::max<std::int64_t>(interval_ticks, 1)) {}

std::int64_t DecodeTimes::next(std::int64_t pts) {
  const auto place = std::upper_bound(latest_.begin(), latest_.end(), pts);
  const auto shown_later = static_cast<std::uint32_t>(latest_.end() - place);
  latest_.insert(place, pts);
  if (latest_.size() > kMaxDelay + 1) latest_.erase(latest_.begin());
  delay_ = std::min(std::max(delay_, shown_later), kMaxDelay);
  if (count_ == 0) first_ = pts;
  const std::uint64_t index = count_++;
  std::int64_t time = 0;
  if (index < delay_) {
    time = first_ - static_cast<std::int64_t>(delay_ - index) * interval_ticks_;
  } else {
    time = latest_[latest_.size() - 1 - delay_];
  }
  if (index > 0) time = std::max(time, last_ + 1);
  last_ = time;
  return time;
}

}  // namespace mc::media
