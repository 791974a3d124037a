// A service manager's ear: prints what is sent to the datagram socket PATH, a line each, "listening" first. Until it is
// killed.
//
//   notified PATH >heard &    NOTIFY_SOCKET=PATH mc-serve …
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdio>
#include <cstring>

#include "sys/fd.hpp"

int main(int argc, char** argv) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (argc != 2 || std::strlen(argv[1]) >= sizeof address.sun_path) {
    std::fprintf(stderr, "usage: notified PATH\n");
    return 64;
  }
  std::strcpy(address.sun_path, argv[1]);
  const mc::sys::Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    std::perror("notified: cannot bind");
    return 74;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::puts("listening");
  char text[4096];
  for (ssize_t n = 0; (n = ::recv(fd.get(), text, sizeof text, 0)) >= 0;) {
    std::printf("%.*s\n", static_cast<int>(n), text);
  }
  return 74;
}
