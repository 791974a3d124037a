#include "spool/key_files.hpp"

namespace mc::spool {

Result<std::vector<digest::PublicKey>> read_key_files(sys::FileSystem& fs, const std::vector<std::string>& paths) {
  constexpr std::uint64_t kMaxKeyBytes = 64 * 1024;
  std::vector<digest::PublicKey> keys;
  for (const std::string& path : paths) {
    auto pem = sys::read_file(fs, path, kMaxKeyBytes);
    if (!pem && pem.error().kind != ErrorKind::damaged) return fail(std::move(pem).error());
    const auto key = digest::PublicKey::from_pem(pem ? as_text(*pem) : std::string_view());
    if (!key) return fail(ErrorKind::config, "'" + path + "' is not a public key");
    keys.push_back(*key);
  }
  return keys;
}

}  // namespace mc::spool
