// One opinion, for all connections together, on whether the server can be reached: closed after a failure, for as long
// as the backoff says, then ajar for one request, and wide open again with the first success. Time is the caller's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "http/backoff.hpp"

namespace mc::upload {

class RetryGate {
 public:
  explicit RetryGate(http::Backoff backoff) : backoff_(std::move(backoff)) {}

  bool is_open(std::int64_t now_ns) const { return now_ns >= opens_ns_; }
  std::int64_t opens_ns() const { return opens_ns_; }
  bool is_down() const { return down_; }  // then one request at a time is enough to find out
  const std::string& reason() const { return reason_; }

  // Goes with every request. Requests that were on their way together fail together: only the first counts.
  std::uint32_t epoch() const { return epoch_; }

  // The wait in milliseconds when this is news (the first failure, or another reason), to be said once.
  std::optional<std::uint32_t> failed(std::uint32_t epoch, const std::string& reason, std::uint32_t retry_after_ms,
                                      std::int64_t now_ns) {
    if (epoch != epoch_) return std::nullopt;
    ++epoch_;
    const std::uint32_t wait_ms = backoff_.next_ms(retry_after_ms);
    opens_ns_ = now_ns + std::int64_t{wait_ms} * 1'000'000;
    const bool is_news = !down_ || reason != reason_;
    down_ = true;
    reason_ = reason;
    if (!is_news) return std::nullopt;
    return wait_ms;
  }

  // A link that breaks all the time carries something each time: no reason to wait longer and longer.
  void got_further() { backoff_.reset(); }

  // Whether this ends an outage.
  bool succeeded() {
    const bool was_down = down_;
    down_ = false;
    opens_ns_ = 0;
    backoff_.reset();
    return was_down;
  }

 private:
  http::Backoff backoff_;
  bool down_ = false;
  std::string reason_;
  std::uint32_t epoch_ = 0;
  std::int64_t opens_ns_ = 0;
};

}  // namespace mc::upload
