#include "media/sound_clock.hpp"

#include <algorithm>
#include <cmath>

namespace mc::media {
namespace {

// A measurement counts for this much; at 50 a second the offset follows within some ten seconds, and the jitter of a
// single one (some milliseconds) is divided by 500.
constexpr double kGain = 1.0 / 500;
// A crystal is never worse; what is measured beyond is jitter.
constexpr double kMaxDrift = 1.0 / 1000;

}  // namespace

std::int64_t SoundClock::measure(std::int64_t n, std::int64_t ticks) {
  const auto wanted = static_cast<double>(ticks - n);
  if (!started_) {
    started_ = true;
    offset_ = wanted;
    move_to(n, ticks - n);
    last_n_ = since_n_ = n;
    since_offset_ = offset_;
    return 0;
  }
  const double error = wanted - offset_;
  if (error > static_cast<double>(hole_ticks())) {
    const std::int64_t missing = ticks - n - segments_.back().offset;
    offset_ = wanted;
    move_to(n, ticks - n);
    last_n_ = since_n_ = n;
    since_offset_ = offset_;
    return missing;
  }
  if (kind_ == ClockKind::device && n > last_n_) {
    const double most = static_cast<double>(n - last_n_) * kMaxDrift;
    offset_ += std::clamp(error * kGain, -most, most);
    last_n_ = n;
    if (const auto whole = std::llround(offset_); whole != segments_.back().offset) move_to(n, whole);
  }
  return 0;
}

void SoundClock::move_to(std::int64_t n, std::int64_t offset) { segments_.push_back({n, offset}); }

std::int64_t SoundClock::at(std::int64_t n) {
  while (segments_.size() > 1 && segments_[1].first <= n) segments_.pop_front();
  return segments_.empty() ? n : n + segments_.front().offset;
}

double SoundClock::drift_ppm() const {
  const std::int64_t samples = last_n_ - since_n_;
  if (kind_ == ClockKind::samples || samples < 10 * static_cast<std::int64_t>(rate_)) return 0;
  return -(offset_ - since_offset_) / static_cast<double>(samples) * 1e6;
}

}  // namespace mc::media
