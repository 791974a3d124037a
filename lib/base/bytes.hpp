// Byte spans and buffers, and big-endian numbers in them. Nothing here allocates but ByteBuffer itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace mc {

using ByteView = std::span<const std::uint8_t>;  // borrowed, never owned
using ByteBuffer = std::vector<std::uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline void append(ByteBuffer& out, ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

// Big endian, of `n` bytes (1 to 8), at `p`. The caller has checked the length.
inline std::uint64_t load_be(const std::uint8_t* p, std::size_t n) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < n; ++i) value = value << 8 | p[i];
  return value;
}
inline void store_be(std::uint8_t* p, std::uint64_t value, std::size_t n) {
  for (std::size_t i = n; i-- > 0; value >>= 8) p[i] = static_cast<std::uint8_t>(value);
}
inline void append_be(ByteBuffer& out, std::uint64_t value, std::size_t n) {
  out.resize(out.size() + n);
  store_be(out.data() + out.size() - n, value, n);
}

}  // namespace mc
