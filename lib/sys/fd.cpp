#include "sys/fd.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <system_error>

namespace mc::sys {
namespace {

ErrorKind kind_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO: return ErrorKind::not_found;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EROFS:
    case EEXIST:
    case EISDIR:
    case ENAMETOOLONG: return ErrorKind::no_space;
    case EACCES:
    case EPERM: return ErrorKind::permission;
    case EAGAIN:
    case EINTR:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ErrorKind::unavailable;
    default: return ErrorKind::io;
  }
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Status Fd::close(std::string_view what) {
  const int fd = std::exchange(fd_, -1);
  // After EINTR the descriptor is closed on Linux and its data was not refused.
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) {
    return fail(errno_error(errno, "cannot close " + std::string(what)));
  }
  return {};
}

Error errno_error(int error, std::string_view what) {
  std::string reason = std::generic_category().message(error);
  if (!reason.empty() && reason[0] >= 'A' && reason[0] <= 'Z') reason[0] = static_cast<char>(reason[0] - 'A' + 'a');
  return Error{kind_of(error), std::string(what) + ": " + reason, error, {}};
}

Result<bool> wait_readable(int fd, int timeout_ms) {
  pollfd p{fd, POLLIN, 0};
  for (;;) {
    const int n = ::poll(&p, 1, timeout_ms);
    if (n >= 0) return n > 0;
    if (errno != EINTR) return fail(errno_error(errno, "cannot poll"));
  }
}

Result<std::size_t> read_some(int fd, std::span<std::uint8_t> into, int stop_fd, std::string_view what) {
  for (;;) {
    if (stop_fd >= 0) {
      std::array<pollfd, 2> p{pollfd{fd, POLLIN, 0}, pollfd{stop_fd, POLLIN, 0}};
      if (::poll(p.data(), p.size(), -1) < 0 && errno != EINTR) return fail(errno_error(errno, "cannot poll"));
      if (p[1].revents != 0) return fail(ErrorKind::unavailable, "stopped", EINTR);
      if (p[0].revents == 0) continue;
    }
    const ssize_t n = ::read(fd, into.data(), into.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EAGAIN) {
      MC_TRY(wait_readable(fd, -1));
    } else if (errno != EINTR) {
      return fail(errno_error(errno, "cannot read " + std::string(what)));
    }
  }
}

Status write_all(int fd, ByteView bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd p{fd, POLLOUT, 0};
      ::poll(&p, 1, -1);
    } else if (errno != EINTR) {
      return fail(errno_error(errno, "cannot write " + std::string(what)));
    }
  }
  return {};
}

}  // namespace mc::sys
