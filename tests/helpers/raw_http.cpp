// Sends stdin to a server as it is and writes to stdout what comes back, at the same time, until the server closes: for
// requests that no client would send.
//
//   raw_http [--half-close] PORT <request      --half-close: says at the end of stdin that nothing more comes
//
// Exit 0: the server closed (a reset counts as closing); 3: it did not within 20 seconds behind the last byte. A server
// that stops taking bytes is no error: the rest of stdin is dropped.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "sys/fd.hpp"

int main(int argc, char** argv) {
  using namespace mc;
  const bool half_close = argc == 3 && std::string(argv[1]) == "--half-close";
  if (argc != (half_close ? 3 : 2)) {
    std::fprintf(stderr, "usage: raw_http [--half-close] PORT\n");
    return 64;
  }
  const sys::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[argc - 1])));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("raw_http: cannot connect");
    return 69;
  }
  std::string waiting;  // read of stdin and not yet sent
  bool more = true;
  char piece[65536];
  for (;;) {
    if (!more && waiting.empty()) {
      if (half_close) ::shutdown(socket.get(), SHUT_WR);
      break;
    }
    pollfd p[2] = {{socket.get(), static_cast<short>(POLLIN | (waiting.empty() ? 0 : POLLOUT)), 0},
                   {more && waiting.empty() ? 0 : -1, POLLIN, 0}};
    if (::poll(p, 2, 20'000) <= 0) return 3;
    if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      const ssize_t n = ::recv(socket.get(), piece, sizeof piece, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN)) return 0;
      if (n > 0 &&
          !sys::write_all(1, {reinterpret_cast<std::uint8_t*>(piece), static_cast<std::size_t>(n)}, "stdout")) {
        return 74;
      }
    }
    if ((p[0].revents & POLLOUT) != 0) {
      const ssize_t n = ::send(socket.get(), waiting.data(), waiting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) waiting.erase(0, static_cast<std::size_t>(n));
      if (n < 0 && errno != EAGAIN) {
        waiting.clear();
        more = false;
      }
    }
    if (p[1].revents != 0) {
      const ssize_t n = ::read(0, piece, sizeof piece);
      if (n > 0) waiting.assign(piece, static_cast<std::size_t>(n));
      more = n > 0;
    }
  }
  for (;;) {
    pollfd p{socket.get(), POLLIN, 0};
    if (::poll(&p, 1, 20'000) <= 0) return 3;
    const ssize_t n = ::recv(socket.get(), piece, sizeof piece, 0);
    if (n <= 0) return 0;
    if (!sys::write_all(1, {reinterpret_cast<std::uint8_t*>(piece), static_cast<std::size_t>(n)}, "stdout")) return 74;
  }
}
