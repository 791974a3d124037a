#include "sys/lock.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace mc::sys {

Result<FileLock> FileLock::acquire(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!fd.valid()) return fail(errno_error(errno, "cannot open '" + path + "'"));
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR) return fail(errno_error(errno, "cannot lock '" + path + "'"));
  }
  return FileLock(std::move(fd));
}

}  // namespace mc::sys
