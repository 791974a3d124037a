#include "server/key_file.hpp"

#include <sys/stat.h>

namespace mc::server {
namespace {

constexpr std::uint64_t kMaxKeyBytes = 64 * 1024;

class ScopedUmask {
 public:
  explicit ScopedUmask(mode_t mask) : before_(::umask(mask)) {}
  ScopedUmask(const ScopedUmask&) = delete;
  ScopedUmask& operator=(const ScopedUmask&) = delete;
  ~ScopedUmask() { ::umask(before_); }

 private:
  mode_t before_;
};

std::string staged_name(const std::string& path) {
  const std::string directory = sys::parent_path(path);
  const auto slash = path.rfind('/');
  return sys::join_path(directory, ".stage-" + (slash == std::string::npos ? path : path.substr(slash + 1)));
}

Status publish_new(sys::FileSystem& fs, const std::string& path, std::string_view text) {
  const std::string staged = staged_name(path);
  MC_TRY(sys::stage_file(fs, staged, as_bytes(text)));
  if (auto renamed = fs.rename_new(staged, path); !renamed) {
    (void)fs.remove(staged);
    return renamed;
  }
  return fs.sync_directory(sys::parent_path(path));
}

Result<digest::PrivateKey> make_key(sys::FileSystem& fs, const std::string& path) {
  MC_TRY_ASSIGN(auto key, digest::PrivateKey::generate());
  MC_TRY_ASSIGN(const std::string pem, key.pem());
  const ScopedUmask only_us(077);
  MC_TRY(publish_new(fs, path, pem));
  return key;
}

Status check_mode(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && (st.st_mode & 077) != 0) {
    return fail(Error{ErrorKind::config, "the key '" + path + "' can be read by others", 0, "chmod 600 the file"});
  }
  return {};
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
    MC_TRY(check_mode(path));
    return digest::PrivateKey::from_pem(as_text(*bytes));
  };
  auto key = load();
  if (!key) return fail(std::move(key).error().within("cannot use the key '" + path + "'"));

  const std::string public_path = public_key_path(path);
  if (const auto found = fs.info(public_path); !found && found.error().kind == ErrorKind::not_found) {
    MC_TRY_ASSIGN(const auto public_key, key->public_key());
    MC_TRY_ASSIGN(const std::string pem, public_key.pem());
    // A key on a read-only medium works without its public part beside it: /v1/key gives it to whoever asks.
    (void)publish_new(fs, public_path, pem);
  }
  return key;
}

}  // namespace mc::server
