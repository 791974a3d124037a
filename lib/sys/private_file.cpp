#include "sys/private_file.hpp"

#include <sys/stat.h>

#include <cstdlib>

namespace mc::sys {
namespace {

class ScopedUmask {
 public:
  explicit ScopedUmask(mode_t mask) : before_(::umask(mask)) {}
  ScopedUmask(const ScopedUmask&) = delete;
  ScopedUmask& operator=(const ScopedUmask&) = delete;
  ~ScopedUmask() { ::umask(before_); }

 private:
  mode_t before_;
};

bool is_credential(const std::string& path) {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  return directory != nullptr && *directory != '\0' && path.starts_with(std::string(directory) + "/");
}

std::string staged_name(const std::string& path) {
  const std::string directory = parent_path(path);
  const auto slash = path.rfind('/');
  return join_path(directory, ".stage-" + (slash == std::string::npos ? path : path.substr(slash + 1)));
}

}  // namespace

bool others_can_read(const std::string& path) {
  struct stat st {};
  const mode_t others = is_credential(path) ? 007 : 077;
  return ::stat(path.c_str(), &st) == 0 && (st.st_mode & others) != 0;
}

Error readable_by_others(const std::string& what) {
  return {ErrorKind::config, what + " can be read by others", 0, "chmod 600 the file"};
}

Status publish_new(FileSystem& fs, const std::string& path, std::string_view text) {
  const std::string staged = staged_name(path);
  MC_TRY(stage_file(fs, staged, as_bytes(text)));
  if (auto renamed = fs.rename_new(staged, path); !renamed) {
    (void)fs.remove(staged);
    return renamed;
  }
  return fs.sync_directory(parent_path(path));
}

Status publish_new_private(FileSystem& fs, const std::string& path, std::string_view text) {
  const ScopedUmask only_us(077);
  return publish_new(fs, path, text);
}

}  // namespace mc::sys
