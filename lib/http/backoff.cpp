#include "http/backoff.hpp"

#include <algorithm>
#include <memory>
#include <random>

namespace mc::http {

Fraction random_fraction() {
  auto engine = std::make_shared<std::mt19937_64>(std::random_device{}());
  return [engine] { return std::uniform_real_distribution<double>(0.0, 1.0)(*engine); };
}

std::uint32_t Backoff::next_ms(std::uint32_t at_least_ms) {
  constexpr std::uint32_t kMaxDoublings = 30;
  const std::uint64_t grown = std::uint64_t{options_.base_ms} << std::min(failures_, kMaxDoublings);
  const std::uint64_t upper = std::min<std::uint64_t>(grown, options_.cap_ms);
  ++failures_;
  const auto drawn = static_cast<std::uint64_t>(fraction_() * static_cast<double>(upper));
  const std::uint64_t asked = std::min<std::uint64_t>(at_least_ms, options_.cap_ms);
  return static_cast<std::uint32_t>(std::max({drawn, asked, std::uint64_t{options_.floor_ms}}));
}

}  // namespace mc::http
