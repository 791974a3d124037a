#include "mp4/cut_rule.hpp"

#include <algorithm>

namespace mc::mp4 {
namespace {

constexpr std::uint64_t kMicroseconds = 1'000'000;
constexpr std::uint64_t kTolerancesPerSecond = 50;  // 20 ms

std::uint64_t position_us(std::uint64_t ticks, std::uint32_t timescale) {
  constexpr std::uint64_t kMaxSeconds = 1ULL << 40;
  const std::uint64_t whole = std::min(ticks / timescale, kMaxSeconds);
  return whole * kMicroseconds + ticks % timescale * kMicroseconds / timescale;
}

}  // namespace

CutRule::CutRule(const Movie& movie) {
  const Track* reference = movie.reference();
  if (reference != nullptr) {
    reference_id_ = reference->id;
    need_sync_ = reference->kind == TrackKind::video;
  }
  for (const Track& track : movie.tracks) {
    TrackClock clock{track.id, std::max(track.timescale, 1U), 0};
    if (track.id == reference_id_ && need_sync_) {
      clock.tolerance_ticks = clock.timescale / kTolerancesPerSecond;
      if (track.nominal_duration != 0) {
        clock.tolerance_ticks = std::min<std::uint64_t>(clock.tolerance_ticks, track.nominal_duration / 2);
      }
    }
    clocks_.push_back(clock);
  }
}

const CutRule::TrackClock* CutRule::clock_of(const Sample& sample) const {
  for (const TrackClock& clock : clocks_) {
    if (clock.id == sample.track_id) return &clock;
  }
  return nullptr;
}

bool CutRule::must_cut(const Sample& sample, const TrackClock* clock) const {
  if (!open_) return true;
  const std::uint64_t bytes = bytes_ + sample.size_bytes;
  if (clock == nullptr) return bytes > 2 * kMaxBytes;
  const std::uint64_t now_us = position_us(sample.decode_time, clock->timescale);
  const std::uint64_t elapsed_us = now_us > start_us_ ? now_us - start_us_ : 0;
  if (sample.track_id == reference_id_ && (sample.sync || !need_sync_)) {
    const std::uint64_t second = (sample.decode_time + clock->tolerance_ticks) / clock->timescale;
    if (second != second_ || bytes > kMaxBytes) return true;
    if (need_sync_ && elapsed_us + position_us(clock->tolerance_ticks, clock->timescale) >= kMicroseconds) return true;
  }
  return elapsed_us >= 2 * kMaxSeconds * kMicroseconds || bytes > 2 * kMaxBytes;
}

bool CutRule::starts_chunk(const Sample& sample) {
  const TrackClock* clock = clock_of(sample);
  const bool cut = must_cut(sample, clock);
  if (cut) {
    open_ = true;
    bytes_ = 0;
    if (clock != nullptr) {
      second_ = (sample.decode_time + clock->tolerance_ticks) / clock->timescale;
      start_us_ = position_us(sample.decode_time, clock->timescale);
    }
  }
  bytes_ += sample.size_bytes;
  return cut;
}

}  // namespace mc::mp4
