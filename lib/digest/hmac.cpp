#include "digest/hmac.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <new>

namespace mc::digest {

Sha256Value hmac_sha256(ByteView key, ByteView message) {
  // OpenSSL takes a null pointer for "the key of last time", also when the length is 0.
  static constexpr std::uint8_t kNothing = 0;
  const std::uint8_t* data = key.empty() ? &kNothing : key.data();
  Sha256Value out{};
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), data, static_cast<int>(key.size()), message.data(), message.size(), out.data(), &size) ==
          nullptr ||
      size != out.size()) {
    throw std::bad_alloc();
  }
  return out;
}

bool equal_in_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace mc::digest
