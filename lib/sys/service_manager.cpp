#include "sys/service_manager.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace mc::sys {
namespace {

constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START

// Nothing: not there. -1: there, and no number.
std::optional<std::int64_t> number_in_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  std::int64_t value = -1;
  const auto [end, ec] = std::from_chars(text, text + std::strlen(text), value);
  return ec == std::errc{} && *end == '\0' && value >= 0 ? value : -1;
}

}  // namespace

Status notify_service_manager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr) return {};
  sockaddr_un address{};
  const std::size_t length = std::strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) return {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail(errno_error(errno, "cannot create a socket"));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    return fail(errno_error(errno, "cannot notify the service manager"));
  }
  return {};
}

Status notify_ready(int notify_fd, const std::string& line) {
  if (notify_fd >= 0) {
    MC_TRY(write_all(notify_fd, as_bytes(line + "\n"), "the notify descriptor"));
    ::close(notify_fd);
  }
  return notify_service_manager("READY=1");
}

Result<std::vector<Fd>> take_inherited_sockets() {
  const auto count = number_in_environment("LISTEN_FDS");
  const auto pid = number_in_environment("LISTEN_PID");
  std::vector<Fd> sockets;
  if (!count || !pid || *pid != ::getpid()) return sockets;
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDNAMES");
  for (std::int64_t i = 0; i < *count; ++i) {
    const auto number = static_cast<int>(kFirstInherited + i);
    if (::fcntl(number, F_SETFD, FD_CLOEXEC) < 0) {
      return fail(ErrorKind::config, "LISTEN_FDS names descriptor " + std::to_string(number) + ", which is not open");
    }
    sockets.emplace_back(number);
  }
  if (*count < 0) return fail(ErrorKind::config, "LISTEN_FDS is not a number");
  return sockets;
}

Watchdog::Watchdog(const Clock& clock) : clock_(clock) {
  const auto interval_us = number_in_environment("WATCHDOG_USEC");
  if (std::getenv("NOTIFY_SOCKET") == nullptr || !interval_us || *interval_us <= 0) return;
  interval_ns_ = *interval_us * 1000;
  next_ns_ = clock_.monotonic_ns();
}

void Watchdog::feed() {
  if (!is_wanted()) return;
  const std::int64_t now = clock_.monotonic_ns();
  if (now < next_ns_) return;
  next_ns_ = now + interval_ns_ / 4;
  // One that is not heard is followed by another before the interval is over.
  (void)notify_service_manager("WATCHDOG=1");
}

}  // namespace mc::sys
