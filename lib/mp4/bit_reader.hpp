// Bits off a span, most significant first, as the headers of the codecs are written. Inside mp4 only. Like FieldReader:
// after the first read past the end every value is 0 and ok() is false.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace mc::mp4 {

class BitReader {
 public:
  explicit BitReader(ByteView bytes) : bytes_(bytes) {}

  std::uint32_t bits(unsigned n) {  // up to 32
    std::uint64_t value = 0;
    for (unsigned i = 0; i < n; ++i) value = value << 1 | next();
    return ok_ ? static_cast<std::uint32_t>(value) : 0;
  }
  bool flag() { return bits(1) != 0; }
  void skip(std::size_t n) {
    position_ += n;
    if (position_ > bytes_.size() * 8) ok_ = false;
  }
  // ue(v) of H.264 and HEVC (9.1, 9.2), uvlc() of AV1 (4.10.3): the same code.
  std::uint32_t ue() {
    unsigned zeros = 0;
    while (ok_ && !flag()) ++zeros;
    if (zeros > 31) ok_ = false;
    return ok_ ? (1U << zeros) - 1 + bits(zeros) : 0;
  }
  std::int32_t se() {
    const std::uint32_t code = ue();
    const auto half = static_cast<std::int32_t>(code / 2);
    return (code & 1) != 0 ? half + 1 : -half;
  }
  std::size_t position() const { return position_; }  // in bits
  bool ok() const { return ok_; }

 private:
  std::uint32_t next() {
    if (!ok_ || position_ >= bytes_.size() * 8) {
      ok_ = false;
      return 0;
    }
    const std::uint32_t bit = bytes_[position_ / 8] >> (7 - position_ % 8) & 1U;
    ++position_;
    return bit;
  }

  ByteView bytes_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace mc::mp4
