// A kernel lock on a file: gone with the process that held it, however it died.
#pragma once

#include <string>

#include "sys/fd.hpp"

namespace mc::sys {

class FileLock {
 public:
  // Makes `path` when absent and takes flock(2) LOCK_EX on it without waiting. Held elsewhere: ErrorKind::unavailable
  // with EWOULDBLOCK. The file stays behind; its presence means nothing.
  static Result<FileLock> acquire(const std::string& path);

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace mc::sys
