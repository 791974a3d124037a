// A server that is none: it answers each kind of request of mc-push with bytes that are given beforehand, whatever was
// asked.
//
//   liar NOTIFY_FD LISTING PUT MANIFEST KEY
//
// LISTING … KEY say what the answer is: a file (sent as it is, then the connection is kept), or a word:
//   close             the connection ends without an answer
//   endless-head      header fields for as long as somebody reads
//   endless-body      a body without Content-Length, for as long as somebody reads
//   endless-chunks    the same in chunks
//   endless-continue  100 Continue for as long as somebody reads
// It ends by SIGTERM.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "sys/fd.hpp"
#include "sys/file_system.hpp"
#include "sys/service_manager.hpp"
#include "sys/signals.hpp"

namespace {

using namespace mc;

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

bool send_for_ever(int fd, const std::string& first, const std::string& piece) {
  std::string many;
  while (many.size() < 16'000) many += piece;
  if (!send_all(fd, first)) return false;
  while (send_all(fd, many)) continue;
  return false;
}

bool answer(int fd, const std::string& with) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  if (with == "close") return false;
  if (with == "endless-head") return send_for_ever(fd, ok, "X-More: and more\r\n");
  if (with == "endless-body") return send_for_ever(fd, ok + "\r\n", "and more ");
  if (with == "endless-chunks") return send_for_ever(fd, ok + "Transfer-Encoding: chunked\r\n\r\n", "4\r\nmore\r\n");
  if (with == "endless-continue") return send_for_ever(fd, "", "HTTP/1.1 100 Continue\r\n\r\n");
  const auto bytes = sys::read_file(sys::real_file_system(), with, std::uint64_t{1} << 30);
  if (!bytes) std::_Exit(66);
  return send_all(fd, as_text(*bytes));
}

void serve(int fd, char** answers) {
  const sys::Fd owned(fd);
  std::string buffer;
  char piece[65536];
  const auto more = [&] {
    const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
    if (n > 0) buffer.append(piece, static_cast<std::size_t>(n));
    return n > 0;
  };
  for (;;) {
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      if (!more()) return;
    }
    const std::string head = buffer.substr(0, end);
    buffer.erase(0, end + 4);
    std::size_t length = 0;
    if (const auto at = head.find("Content-Length: "); at != std::string::npos) {
      std::from_chars(head.data() + at + 16, head.data() + head.size(), length);
    }
    while (buffer.size() < length) {
      if (!more()) return;
    }
    buffer.erase(0, length);
    const std::string target = head.substr(0, head.find(" HTTP/"));
    const int which = target.ends_with("/") ? 0 : target.ends_with("/manifest") ? 2 : target.ends_with("/key") ? 3 : 1;
    if (!answer(fd, answers[which])) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: liar NOTIFY_FD LISTING PUT MANIFEST KEY\n");
    return 64;
  }
  auto stop = sys::StopSignals::install();
  const sys::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (!stop || ::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 64) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      !sys::notify_ready(std::atoi(argv[1]), "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)))) {
    return 70;
  }
  for (;;) {
    pollfd p[2] = {{stop->stop_fd(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    (void)::poll(p, 2, -1);
    if (p[0].revents != 0) std::_Exit(0);
    if (p[1].revents == 0) continue;
    const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) std::thread(serve, fd, argv + 2).detach();
  }
}
