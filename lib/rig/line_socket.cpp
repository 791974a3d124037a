#include "rig/line_socket.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace mc::rig {
namespace {

constexpr std::size_t kMaxLineBytes = 256 * 1024;

}  // namespace

std::vector<json::object> LineSocket::take() {
  std::vector<json::object> messages;
  std::array<char, 16 * 1024> piece;
  while (is_open()) {
    const ssize_t n = ::recv(fd_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n <= 0) {
      fd_ = sys::Fd();
      break;
    }
    pending_.append(piece.data(), static_cast<std::size_t>(n));
    std::size_t begin = 0;
    for (std::size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (auto message = json::parse_object(std::string_view(pending_).substr(begin, end - begin))) {
        messages.push_back(std::move(*message));
      }
    }
    pending_.erase(0, begin);
    if (pending_.size() > kMaxLineBytes) fd_ = sys::Fd();
  }
  return messages;
}

void LineSocket::send(const json::object& message) {
  if (!is_open()) return;
  const std::string line = json::to_text(message) + "\n";
  const ssize_t sent = ::send(fd_.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(line.size())) fd_ = sys::Fd();
}

}  // namespace mc::rig
