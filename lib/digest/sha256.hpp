// SHA-256 (FIPS 180-4) by OpenSSL, which uses the processor's SHA extensions.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace mc::digest {

using Sha256Value = std::array<std::uint8_t, 32>;

// One running hash. Not for two threads at once.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  void update(ByteView bytes);
  Sha256Value value() const;  // of everything so far; more may follow
  std::string hex() const;    // the same, 64 lower-case digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Sha256Value sha256(ByteView bytes);
std::string sha256_hex(ByteView bytes);

std::string to_hex(ByteView bytes);
std::optional<ByteBuffer> from_hex(std::string_view text);  // nothing unless every digit is one
std::string to_base64(ByteView bytes);                      // RFC 4648 section 4, with padding
std::optional<ByteBuffer> from_base64(std::string_view text);

// `n` bytes from the system's random source. Kind: unavailable.
Result<ByteBuffer> random_bytes(std::size_t n);

}  // namespace mc::digest
