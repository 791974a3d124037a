// Whether a peer moves fast enough. Two rules: never longer than `stall` without a byte, and at least `window_bytes` in
// each `window` of waiting. The second is for those who send or take a byte now and then to keep a connection for ever.
// Only time spent waiting for the peer counts, not what we need for the disk.
//
//   pace.begin();                                  // a body, or an answer
//   for (;;) { wait at most pace.may_wait(now) for some bytes;  pace.moved(n, now); }
//
// Too slow is told by a wait that ends, so that there is one place where a connection is given up.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace mc::server {

class Pace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  Pace(Duration stall, Duration window, std::uint64_t window_bytes)
      : stall_(stall), window_(window), window_bytes_(window_bytes) {}

  void begin() {
    waited_ = {};
    bytes_ = 0;
  }
  Duration may_wait(Time now) {
    asked_at_ = now;
    // Who has moved enough in this window may be late once.
    if (bytes_ >= window_bytes_) return stall_;
    return std::clamp(window_ - waited_, Duration{0}, stall_);
  }
  // Nobody waited for these.
  void arrived(std::uint64_t bytes) { bytes_ += bytes; }
  void moved(std::uint64_t bytes, Time now) {
    waited_ += now - asked_at_;
    bytes_ += bytes;
    if (bytes_ >= window_bytes_ && waited_ >= window_) begin();
  }

 private:
  Duration stall_, window_;
  std::uint64_t window_bytes_;
  Duration waited_{};
  std::uint64_t bytes_ = 0;
  Time asked_at_{};
};

}  // namespace mc::server
