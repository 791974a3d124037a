// Keys, hashes and signatures as text that a peer sends: PEM, base64 and hexadecimal. What is taken is written again as
// the same value.
#include "digest/ed25519.hpp"
#include "digest/sha256.hpp"
#include "require.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mc::digest;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      if (const auto bytes = from_base64(text)) require(from_base64(to_base64(*bytes)) == bytes);
      break;
    case 1:
      if (const auto bytes = from_hex(text))
        require(from_hex(to_hex(*bytes)) == bytes && bytes->size() * 2 == text.size());
      break;
    case 2:
      if (const auto key = PublicKey::from_pem(text)) {
        require(PublicKey::from_pem(key->pem().value())->fingerprint() == key->fingerprint());
        require(key->fingerprint().size() == 16);
      }
      break;
    default:
      if (const auto key = PrivateKey::from_pem(text)) {
        const auto public_key = key->public_key().value();
        require(public_key.verifies(mc::as_bytes(text), key->sign(mc::as_bytes(text)).value()));
      }
  }
  return 0;
}
