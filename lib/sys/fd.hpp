// A file descriptor with one owner.
//
// The destructor closes and ignores the result: whoever wrote through the descriptor calls `close()` and looks.
#pragma once

#include <string_view>
#include <utility>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace mc::sys {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  // Closes and reports what close(2) said; the descriptor is gone either way.
  Status close(std::string_view what);

 private:
  int fd_ = -1;
};

// The only translator of errno. `what` is the whole action: "cannot open 'x'".
Error errno_error(int error, std::string_view what);

// Read once, retrying EINTR unless `stop_fd` (or -1) becomes readable while waiting; 0 means end of file, and
// ErrorKind::unavailable with EINTR in sys_errno means stopped. Works for blocking and non-blocking descriptors.
Result<std::size_t> read_some(int fd, std::span<std::uint8_t> into, int stop_fd, std::string_view what);
// Writes everything, through short writes and EINTR. EPIPE is ErrorKind::io with that errno.
Status write_all(int fd, ByteView bytes, std::string_view what);
// Until `fd` is readable (true) or the time is over (false). timeout_ms < 0 waits for ever. EINTR is retried.
Result<bool> wait_readable(int fd, int timeout_ms);

}  // namespace mc::sys
