#include "digest/sha256.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <new>

namespace mc::digest {

struct Sha256::State {
  EVP_MD_CTX* ctx = nullptr;
  explicit State(const EVP_MD* md) : ctx(EVP_MD_CTX_new()) {
    if (ctx == nullptr || EVP_DigestInit_ex(ctx, md, nullptr) != 1) throw std::bad_alloc();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(ctx); }
};

namespace {
// Fetched once: EVP_sha256() would look the provider up at each new hash.
const EVP_MD* algorithm() {
  static const EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}
}  // namespace

Sha256::Sha256() : state_(std::make_unique<State>(algorithm())) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(ByteView bytes) { EVP_DigestUpdate(state_->ctx, bytes.data(), bytes.size()); }

Sha256Value Sha256::value() const {
  State copy(algorithm());
  EVP_MD_CTX_copy_ex(copy.ctx, state_->ctx);
  Sha256Value out{};
  EVP_DigestFinal_ex(copy.ctx, out.data(), nullptr);
  return out;
}

std::string Sha256::hex() const { return to_hex(value()); }

Sha256Value sha256(ByteView bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.value();
}

std::string sha256_hex(ByteView bytes) { return to_hex(sha256(bytes)); }

std::string to_hex(ByteView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<ByteBuffer> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  ByteBuffer out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<std::uint8_t>(high * 16 + low));
  }
  return out;
}

std::string to_base64(ByteView bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int n =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(n));
  return text;
}

std::optional<ByteBuffer> from_base64(std::string_view text) {
  // EVP_DecodeBlock skips white space at the ends and counts padding as zeros; neither is ours to accept.
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool letter =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (c == '=' && i + 2 >= text.size()) {
      ++padding;
    } else if (!letter || padding > 0) {
      return std::nullopt;
    }
  }
  ByteBuffer out(text.size() / 4 * 3);
  const int n =
      EVP_DecodeBlock(out.data(), reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (n < 0) return std::nullopt;
  out.resize(static_cast<std::size_t>(n) - padding);
  return out;
}

Result<ByteBuffer> random_bytes(std::size_t n) {
  ByteBuffer out(n);
  if (RAND_bytes(out.data(), static_cast<int>(n)) != 1) {
    return fail(ErrorKind::unavailable, "the system gives no random numbers");
  }
  return out;
}

}  // namespace mc::digest
