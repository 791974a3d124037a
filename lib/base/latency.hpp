// How long something took, many times over: percentiles in constant memory, exact to a sixteenth.
//
// Buckets grow with the value (16 per power of two), as in HdrHistogram. One thread.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace mc {

class LatencyHistogram {
 public:
  void add(std::int64_t ns) {
    const std::uint64_t us = ns <= 0 ? 0 : static_cast<std::uint64_t>(ns) / 1000;
    ++buckets_[bucket_of(us)];
    ++count_;
    if (us > max_us_) max_us_ = us;
  }
  std::uint64_t count() const { return count_; }
  std::uint64_t max_us() const { return max_us_; }
  // The value that `percent` of all are not above, in microseconds, rounded up by a sixteenth at most; 0 when empty.
  std::uint64_t percentile_us(double percent) const {
    const auto wanted = static_cast<std::uint64_t>(static_cast<double>(count_) * percent / 100.0);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > wanted || seen == count_) {
        const std::uint64_t top = top_of(i);
        return top < max_us_ ? top : max_us_;
      }
    }
    return max_us_;
  }

 private:
  static constexpr std::size_t kSteps = 16;
  static std::size_t bucket_of(std::uint64_t us) {
    if (us < kSteps) return static_cast<std::size_t>(us);
    const auto power = static_cast<std::size_t>(std::bit_width(us)) - 5;  // 0 for 16..31
    const std::size_t bucket = (power + 1) * kSteps + static_cast<std::size_t>((us >> power) - kSteps);
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  static std::uint64_t top_of(std::size_t bucket) {
    if (bucket < kSteps) return bucket;
    const std::size_t power = bucket / kSteps - 1;
    return ((std::uint64_t{bucket % kSteps} + kSteps + 1) << power) - 1;
  }

  static constexpr std::size_t kBuckets = kSteps * 40;  // up to 12 days
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_us_ = 0;
};

}  // namespace mc
