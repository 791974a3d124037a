// How long to wait before the next try: capped exponential backoff with full jitter.
//
//   Backoff backoff(options, random_fraction());
//   for (;;) {
//     if (try_it()) break;
//     wait(backoff.next_ms());   // the wait is the caller's: it has other things to listen to
//   }
//
// The n-th wait is drawn evenly from [floor, min(cap, base * 2^n)]: the whole range, so that a hundred guests that lost
// the same server do not come back at the same moment. It never says "give up"; a deadline is the caller's.
#pragma once

#include <cstdint>
#include <functional>

namespace mc::http {

struct BackoffOptions {
  std::uint32_t base_ms = 250;    // upper end of the first wait
  std::uint32_t cap_ms = 15'000;  // upper end of every later one
  std::uint32_t floor_ms = 20;    // lower end of all of them
};

// Numbers in [0, 1). Injected so that tests decide.
using Fraction = std::function<double()>;
Fraction random_fraction();

class Backoff {
 public:
  Backoff(BackoffOptions options, Fraction fraction) : options_(options), fraction_(std::move(fraction)) {}

  // The wait before the next try. `at_least_ms`: what the server asked for (Retry-After), capped like the rest.
  std::uint32_t next_ms(std::uint32_t at_least_ms = 0);
  // After a success: the next failure waits shortly again.
  void reset() { failures_ = 0; }
  std::uint32_t failures() const { return failures_; }

 private:
  BackoffOptions options_;
  Fraction fraction_;
  std::uint32_t failures_ = 0;
};

}  // namespace mc::http
