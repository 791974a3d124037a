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
// Being late for certain is mended faster, and very late (a device that gives more samples than there is time) at once,
// as far as times still rise.
constexpr double kMaxCatchUp = 1.0 / 200;
constexpr double kMaxSqueeze = 1.0 / 2;

}  // namespace

std::int64_t SoundClock::jump(std::int64_t n, std::int64_t offset) {
  const std::int64_t missing = segments_.empty() ? 0 : offset - segments_.back().offset;
  measured_.clear();
  offset_ = since_offset_ = static_cast<double>(offset);
  last_n_ = since_n_ = n;
  move_to(n, offset);
  return missing;
}

std::int64_t SoundClock::measure(std::int64_t n, std::int64_t ticks) {
  const std::int64_t wanted = ticks - n;
  if (segments_.empty()) return jump(n, wanted);
  if (kind_ == ClockKind::samples) return wanted - segments_.back().offset > hole_ticks() ? jump(n, wanted) : 0;

  measured_.push_back({n, wanted});
  const std::int64_t window = rate_ / 2;
  while (n - measured_.front().first > window) measured_.pop_front();
  const auto earliest = std::min_element(measured_.begin(), measured_.end(), [](const Segment& a, const Segment& b) {
                          return a.offset < b.offset;
                        })->offset;
  const double error = static_cast<double>(earliest) - offset_;
  const bool window_is_full = n - measured_.front().first > window * 3 / 4;
  if (window_is_full && error > static_cast<double>(hole_ticks())) return jump(n, earliest);
  if (n > last_n_) {
    const auto samples = static_cast<double>(n - last_n_);
    if (error < -static_cast<double>(hole_ticks())) {
      offset_ += std::max(error, -samples * kMaxSqueeze);
    } else {
      offset_ += std::clamp(error * kGain, -samples * kMaxCatchUp, samples * kMaxDrift);
    }
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

std::optional<std::int64_t> SoundClock::drift_ppb() const {
  const std::int64_t samples = last_n_ - since_n_;
  if (kind_ == ClockKind::samples || samples < 10 * static_cast<std::int64_t>(rate_)) return std::nullopt;
  return std::llround(-(offset_ - since_offset_) / static_cast<double>(samples) * 1e9);
}

}  // namespace mc::media
