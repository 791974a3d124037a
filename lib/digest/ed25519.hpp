// Ed25519 signatures (RFC 8032) by OpenSSL, and keys as PEM (PKCS #8, RFC 8410) so that `openssl pkey` reads them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace mc::digest {

using Signature = std::array<std::uint8_t, 64>;

class PublicKey {
 public:
  using Raw = std::array<std::uint8_t, 32>;
  static Result<PublicKey> from_pem(std::string_view pem);  // "PUBLIC KEY"; kind: damaged
  static PublicKey from_raw(const Raw& raw) { return PublicKey(raw); }

  const Raw& raw() const { return raw_; }
  Result<std::string> pem() const;
  // The first 16 hexadecimal digits of the SHA-256 of the raw key: the name of the key in receipts and file names.
  std::string fingerprint() const;
  bool verifies(ByteView message, const Signature& signature) const;

 private:
  explicit PublicKey(const Raw& raw) : raw_(raw) {}
  Raw raw_;
};

// The secret stays inside OpenSSL's object. Safe from any thread once made.
class PrivateKey {
 public:
  static Result<PrivateKey> generate();
  static Result<PrivateKey> from_pem(std::string_view pem);  // "PRIVATE KEY"; kind: damaged
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  Result<std::string> pem() const;  // secret: only ever for a file of mode 0600
  Result<PublicKey> public_key() const;
  Result<Signature> sign(ByteView message) const;

 private:
  struct Handle;
  explicit PrivateKey(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

}  // namespace mc::digest
