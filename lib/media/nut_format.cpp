#include "media/nut_format.hpp"

#include <array>

namespace mc::media::nut {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i << 24;
    for (int bit = 0; bit < 8; ++bit) c = (c & 0x80000000U) != 0 ? c << 1 ^ 0x04C11DB7U : c << 1;
    table[i] = c;
  }
  return table;
}
constexpr auto kTable = make_table();

}  // namespace

std::uint32_t crc32(ByteView bytes, std::uint32_t crc) {
  for (const std::uint8_t b : bytes) crc = crc << 8 ^ kTable[crc >> 24 ^ b];
  return crc;
}

std::uint64_t NumberReader::v() {
  std::uint64_t value = 0;
  while (ok()) {
    if (position_ >= bytes_.size()) {
      short_ = true;
      break;
    }
    const std::uint8_t b = bytes_[position_++];
    if (value >> 57 != 0) {
      too_large_ = true;
      break;
    }
    value = value << 7 | (b & 0x7FU);
    if ((b & 0x80U) == 0) return value;
  }
  return 0;
}

std::int64_t NumberReader::s() {
  // 0, 1, -1, 2, -2 … are coded as 0, 1, 2, 3, 4 …
  const std::uint64_t coded = v();
  const auto magnitude = static_cast<std::int64_t>((coded >> 1) + (coded & 1U));
  return (coded & 1U) != 0 ? magnitude : -magnitude;
}

std::uint64_t NumberReader::be(std::size_t n) {
  const ByteView bytes = take(n);
  return bytes.size() == n ? load_be(bytes.data(), n) : 0;
}

ByteView NumberReader::take(std::uint64_t n) {
  if (!ok()) return {};
  if (n > left()) {
    short_ = true;
    return {};
  }
  const ByteView bytes = bytes_.subspan(position_, n);
  position_ += n;
  return bytes;
}

void append_v(ByteBuffer& out, std::uint64_t value) {
  int groups = 1;
  for (std::uint64_t rest = value >> 7; rest != 0; rest >>= 7) ++groups;
  while (--groups > 0) out.push_back(static_cast<std::uint8_t>(0x80U | (value >> (7 * groups) & 0x7FU)));
  out.push_back(static_cast<std::uint8_t>(value & 0x7FU));
}

void append_s(ByteBuffer& out, std::int64_t value) {
  const auto magnitude = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  append_v(out, 2 * magnitude - (value > 0 ? 1 : 0));
}

void append_vb(ByteBuffer& out, ByteView bytes) {
  append_v(out, bytes.size());
  append(out, bytes);
}

void append_packet(ByteBuffer& out, std::uint64_t startcode, ByteView payload) {
  const std::size_t start = out.size();
  const std::uint64_t forward = payload.size() + 4;
  append_be(out, startcode, 8);
  append_v(out, forward);
  if (forward > kLongPacketBytes) append_be(out, crc32(ByteView(out).subspan(start)), 4);
  append(out, payload);
  append_be(out, crc32(payload), 4);
}

}  // namespace mc::media::nut
