#include "digest/ed25519.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>

#include "digest/sha256.hpp"

namespace mc::digest {
namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using MdContext = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>>;

// The only translator of OpenSSL's error queue.
tl::unexpected<Error> openssl_fail(ErrorKind kind, const std::string& what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return fail(kind, what + ": " + (reason == nullptr ? "rejected by OpenSSL" : reason));
}

Bio read_bio(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(n)};
}

// No prompt on the terminal for an encrypted key.
int no_password(char*, int, int, void*) { return -1; }

Result<PublicKey> public_part(const EVP_PKEY* key) {
  PublicKey::Raw raw{};
  std::size_t size = raw.size();
  if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) return fail(ErrorKind::damaged, "not an Ed25519 key");
  if (EVP_PKEY_get_raw_public_key(key, raw.data(), &size) != 1 || size != raw.size()) {
    return openssl_fail(ErrorKind::damaged, "cannot read the public key");
  }
  return PublicKey::from_raw(raw);
}

}  // namespace

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const Key key(PEM_read_bio_PUBKEY(read_bio(pem).get(), nullptr, no_password, nullptr));
  if (!key) return openssl_fail(ErrorKind::damaged, "not a public key in PEM");
  return public_part(key.get());
}

Result<std::string> PublicKey::pem() const {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw_.data(), raw_.size()));
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!key || !bio || PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1) {
    return openssl_fail(ErrorKind::bug, "cannot format the public key");
  }
  return bio_text(bio.get());
}

std::string PublicKey::fingerprint() const { return sha256_hex(raw_).substr(0, 16); }

bool PublicKey::verifies(ByteView message, const Signature& signature) const {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw_.data(), raw_.size()));
  const MdContext ctx(EVP_MD_CTX_new());
  const bool ok = key && ctx && EVP_DigestVerifyInit(ctx.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
                  EVP_DigestVerify(ctx.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  ERR_clear_error();
  return ok;
}

struct PrivateKey::Handle {
  Key key;
};

PrivateKey::PrivateKey(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

Result<PrivateKey> PrivateKey::generate() {
  Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!key) return openssl_fail(ErrorKind::unavailable, "cannot make a key");
  return PrivateKey(std::make_unique<Handle>(Handle{std::move(key)}));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  Key key(PEM_read_bio_PrivateKey(read_bio(pem).get(), nullptr, no_password, nullptr));
  if (!key) return openssl_fail(ErrorKind::damaged, "not a private key in PEM");
  MC_TRY(public_part(key.get()));
  return PrivateKey(std::make_unique<Handle>(Handle{std::move(key)}));
}

Result<std::string> PrivateKey::pem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), handle_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_fail(ErrorKind::bug, "cannot format the private key");
  }
  return bio_text(bio.get());
}

Result<PublicKey> PrivateKey::public_key() const { return public_part(handle_->key.get()); }

Result<Signature> PrivateKey::sign(ByteView message) const {
  const MdContext ctx(EVP_MD_CTX_new());
  Signature signature{};
  std::size_t size = signature.size();
  if (!ctx || EVP_DigestSignInit(ctx.get(), nullptr, nullptr, nullptr, handle_->key.get()) != 1 ||
      EVP_DigestSign(ctx.get(), signature.data(), &size, message.data(), message.size()) != 1) {
    return openssl_fail(ErrorKind::bug, "cannot sign");
  }
  return signature;
}

}  // namespace mc::digest
