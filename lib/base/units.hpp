// Strong types for quantities that cross modules. Inside a module a unit in the name (`_ms`, `_bytes`) is enough.
#pragma once

#include <compare>
#include <cstdint>

namespace mc {

struct Bytes {
  std::uint64_t value = 0;
  auto operator<=>(const Bytes&) const = default;
};

// Chunks and inits are numbered from 1 without holes; 0 is "none".
struct ChunkNumber {
  std::uint32_t value = 0;
  auto operator<=>(const ChunkNumber&) const = default;
  ChunkNumber next() const { return {value + 1}; }
};
struct InitNumber {
  std::uint32_t value = 0;
  auto operator<=>(const InitNumber&) const = default;
  InitNumber next() const { return {value + 1}; }
};

// A position or a length on a timeline of `timescale` ticks per second.
struct MediaTime {
  std::int64_t ticks = 0;
  std::uint32_t timescale = 1;  // > 0
  bool operator==(const MediaTime&) const = default;

  double seconds() const { return static_cast<double>(ticks) / timescale; }
};

// `ticks` of timescale `from` in timescale `to`, rounded to the nearest (halves away from zero), without overflow
// for any result that fits.
constexpr std::int64_t rescale(std::int64_t ticks, std::uint64_t from, std::uint64_t to) {
  const bool negative = ticks < 0;
  const auto magnitude = negative ? 0 - static_cast<std::uint64_t>(ticks) : static_cast<std::uint64_t>(ticks);
  const std::uint64_t whole = magnitude / from;
  const std::uint64_t rest = magnitude % from;
  const auto value = static_cast<std::int64_t>(whole * to + (rest * to + from / 2) / from);
  return negative ? -value : value;
}

inline constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

}  // namespace mc
