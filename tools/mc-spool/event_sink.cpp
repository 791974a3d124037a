#include "mc-spool/event_sink.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "sys/local_socket.hpp"

namespace mc::tool_spool {

Result<EventSink> EventSink::open(const std::string& where) {
  EventSink sink;
  if (where.empty()) return sink;
  if (where.starts_with("unix:")) {
    MC_TRY_ASSIGN(sink.fd_, sys::connect_local(where.substr(5)));
    return sink;
  }
  int number = -1;
  const auto [end, ec] = std::from_chars(where.data(), where.data() + where.size(), number);
  if (ec != std::errc{} || end != where.data() + where.size() || ::fcntl(number, F_GETFD) < 0) {
    return fail(Error{ErrorKind::usage, "not an open descriptor and not unix:PATH: '" + where + "'", 0, {}});
  }
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  sink.fd_ = sys::Fd(number);
  return sink;
}

// The descriptor may be shared with others, so it is not made non-blocking: it is asked before each write instead. A
// pipe that is writable takes at least PIPE_BUF bytes, and a line is shorter.
bool EventSink::write_now(std::string_view text) {
  rest_.append(text);
  while (!rest_.empty()) {
    pollfd p{fd_.get(), POLLOUT, 0};
    if (::poll(&p, 1, 0) != 1) return false;
    ssize_t n = ::send(fd_.get(), rest_.data(), rest_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK) n = ::write(fd_.get(), rest_.data(), rest_.size());
    if (n < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      fd_ = sys::Fd();  // the reader is gone
      return false;
    }
    rest_.erase(0, static_cast<std::size_t>(n));
  }
  return true;
}

void EventSink::send(const json::object& event) {
  if (!active()) return;
  if (!rest_.empty() && !write_now({})) {
    ++lost_;
    return;
  }
  if (lost_ > 0) {
    const std::uint64_t lost = std::exchange(lost_, 0);
    if (!write_now(json::to_text(json::object{{"event", "lost"}, {"events", lost}}) + "\n")) {
      ++lost_;
      return;
    }
  }
  write_now(json::to_text(event) + "\n");
}

}  // namespace mc::tool_spool
