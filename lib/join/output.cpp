#include "join/output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "sys/file_system.hpp"

namespace mc::join {
namespace {

Error cannot_create(int error, const std::string& path) {
  Error made = sys::errno_error(error, "cannot create '" + path + "'");
  if (made.kind == ErrorKind::not_found || made.kind == ErrorKind::io) made.kind = ErrorKind::no_space;
  return made;
}

std::string hidden_name(const std::string& target) {
  const auto slash = target.rfind('/');
  const std::string base = slash == std::string::npos ? target : target.substr(slash + 1);
  return sys::join_path(sys::parent_path(target), "." + base + ".join-" + std::to_string(::getpid()));
}

}  // namespace

Result<Output> Output::open(const std::string& path) {
  Output out;
  if (path == "-") {
    out.fd_ = STDOUT_FILENO;
    out.name_ = "stdout";
    return out;
  }
  out.name_ = path;
  out.target_ = path;
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) return fail(cannot_create(EISDIR, path));
    if (!S_ISREG(st.st_mode)) {
      out.owned_ = sys::Fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
      if (!out.owned_.valid()) return fail(cannot_create(errno, path));
      out.fd_ = out.owned_.get();
      return out;
    }
    // Through a symbolic link the file behind it is replaced, not the link.
    char resolved[PATH_MAX];
    if (::realpath(path.c_str(), resolved) != nullptr) out.target_ = resolved;
  }
  out.staged_ = true;
  out.owned_ = sys::Fd(::open(sys::parent_path(out.target_).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666));
  if (!out.owned_.valid()) {
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return fail(cannot_create(errno, path));
    out.hidden_ = hidden_name(out.target_);
    out.owned_ = sys::Fd(::open(out.hidden_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!out.owned_.valid()) {
      const int error = errno;
      out.hidden_.clear();
      return fail(cannot_create(error, path));
    }
  }
  out.fd_ = out.owned_.get();
  return out;
}

Output::Output(Output&& other) noexcept
    : owned_(std::move(other.owned_)),
      fd_(std::exchange(other.fd_, -1)),
      staged_(other.staged_),
      name_(std::move(other.name_)),
      target_(std::move(other.target_)),
      hidden_(std::exchange(other.hidden_, {})) {}

Output::~Output() {
  if (!hidden_.empty()) ::unlink(hidden_.c_str());
}

Status Output::reserve(std::uint64_t bytes) {
  if (!staged_ || bytes == 0) return {};
  int result = 0;
  do {
    result = ::fallocate(fd_, 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return {};
  return fail(sys::errno_error(errno, "cannot take " + std::to_string(bytes) + " bytes for '" + name_ + "'"));
}

Status Output::commit() {
  if (!staged_) {
    // A pipe or device has nothing to sync and says so.
    if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP) {
      return fail(sys::errno_error(errno, "cannot sync " + name_));
    }
    return owned_.valid() ? owned_.close("'" + name_ + "'") : Status{};
  }
  if (::fsync(fd_) != 0) return fail(sys::errno_error(errno, "cannot sync '" + name_ + "'"));
  if (hidden_.empty()) {
    // linkat(2) does not replace a name, rename(2) does: by way of a hidden one.
    const std::string hidden = hidden_name(target_);
    ::unlink(hidden.c_str());
    const std::string unnamed = "/proc/self/fd/" + std::to_string(fd_);
    if (::linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, hidden.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return fail(cannot_create(errno, name_));
    }
    hidden_ = hidden;
  }
  MC_TRY(owned_.close("'" + name_ + "'"));
  MC_TRY(sys::real_file_system().rename(hidden_, target_));
  hidden_.clear();
  return sys::real_file_system().sync_directory(sys::parent_path(target_));
}

}  // namespace mc::join
