// The clocks, behind an interface so that tests can drive time. All values are nanoseconds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace mc {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t wall_ns() const = 0;  // since the Unix epoch, UTC; may step
  virtual std::int64_t monotonic_ns()
      const = 0;  // never steps, stands while the machine is suspended; no meaning elsewhere
  // How long the machine has been suspended since its start; sometimes a bit less, never more.
  virtual std::int64_t suspended_ns() const { return 0; }
};

// The system's clocks. One object, lives for ever, safe from any thread.
const Clock& system_clock();

// RFC 3339 in UTC with nine digits of fraction: 2026-11-22T10:00:00.000000000Z. Years 1970 to 9999.
std::string format_utc(std::int64_t wall_ns);
// Takes 0 to 9 digits of fraction and only "Z" as offset. Kind: damaged.
Result<std::int64_t> parse_utc(std::string_view text);

}  // namespace mc
