// CLOCK_MONOTONIC, by which everything waits here.
#pragma once

#include <cstdint>

#include "base/clock.hpp"

namespace mc::rig {

inline std::int64_t monotonic_ns() { return system_clock().monotonic_ns(); }

}  // namespace mc::rig
