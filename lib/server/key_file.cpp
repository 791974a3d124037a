#include "server/key_file.hpp"

#include "sys/private_file.hpp"

namespace mc::server {
namespace {

constexpr std::uint64_t kMaxKeyBytes = 64 * 1024;

Result<digest::PrivateKey> make_key(sys::FileSystem& fs, const std::string& path) {
  MC_TRY_ASSIGN(auto key, digest::PrivateKey::generate());
  MC_TRY_ASSIGN(const std::string pem, key.pem());
  MC_TRY(sys::publish_new_private(fs, path, pem));
  return key;
}

}  // namespace

std::string public_key_path(const std::string& key_path) {
  constexpr std::string_view kSuffix = ".pem";
  const std::string stem =
      key_path.ends_with(kSuffix) ? key_path.substr(0, key_path.size() - kSuffix.size()) : key_path;
  return stem + ".pub.pem";
}

Result<digest::PrivateKey> load_or_make_key(sys::FileSystem& fs, const std::string& path) {
  const auto load = [&]() -> Result<digest::PrivateKey> {
    const auto bytes = sys::read_file(fs, path, kMaxKeyBytes);
    if (!bytes && bytes.error().kind == ErrorKind::not_found) return make_key(fs, path);
    if (!bytes) return fail(bytes.error());
    if (sys::others_can_read(path)) return fail(sys::readable_by_others("the key '" + path + "'"));
    return digest::PrivateKey::from_pem(as_text(*bytes));
  };
  auto key = load();
  if (!key) return fail(std::move(key).error().within("cannot use the key '" + path + "'"));

  const std::string public_path = public_key_path(path);
  if (const auto found = fs.info(public_path); !found && found.error().kind == ErrorKind::not_found) {
    MC_TRY_ASSIGN(const auto public_key, key->public_key());
    MC_TRY_ASSIGN(const std::string pem, public_key.pem());
    // A key on a read-only medium works without its public part beside it: /v1/key gives it to whoever asks.
    (void)sys::publish_new(fs, public_path, pem);
  }
  return key;
}

}  // namespace mc::server
