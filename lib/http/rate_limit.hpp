// How many bytes may be sent, by all connections of a process together: a bucket that fills at the given rate and holds
// a tenth of a second of it.
//
//   const std::size_t n = limit.take(wanted, now_ns);   // 0: not yet; ask again after wait_ms
//
// Any thread. Nobody is given a turn: whoever asks when there is something gets it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>

namespace mc::http {

class RateLimit {
 public:
  explicit RateLimit(std::uint64_t bytes_per_s)
      : rate_(static_cast<double>(bytes_per_s)), most_(std::max(rate_ / 10, 1.0)) {}

  // Up to `wanted` bytes. Crumbs are not given, so that not each byte costs a system call.
  std::size_t take(std::size_t wanted, std::int64_t now_ns) {
    const std::lock_guard lock(mutex_);
    if (last_ns_ >= 0) bytes_ = std::min(most_, bytes_ + rate_ * static_cast<double>(now_ns - last_ns_) / 1e9);
    last_ns_ = now_ns;
    if (bytes_ < std::min(static_cast<double>(wanted), most_ / 2)) return 0;
    const auto n = std::min(wanted, static_cast<std::size_t>(std::max(bytes_, 1.0)));
    bytes_ -= static_cast<double>(n);
    return n;
  }
  static constexpr std::uint32_t wait_ms = 20;

 private:
  const double rate_;
  const double most_;
  std::mutex mutex_;
  double bytes_ = 0;
  std::int64_t last_ns_ = -1;
};

}  // namespace mc::http
