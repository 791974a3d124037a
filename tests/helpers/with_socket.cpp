// What a service manager does for a service with a socket: opens one on a port of the kernel's choice, writes the port
// to the file PORT, and becomes PROGRAM with the socket as descriptor 3 (sd_listen_fds(3)).
//
//   with_socket PORT mc-serve …
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: with_socket PORT PROGRAM...\n");
    return 64;
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  std::FILE* port = std::fopen(argv[1], "w");
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(fd, 16) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || port == nullptr) {
    std::perror("with_socket");
    return 74;
  }
  std::fprintf(port, "%d", ntohs(address.sin_port));
  std::fclose(port);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  if (fd != 3) ::dup2(fd, 3);
  ::execvp(argv[2], argv + 2);
  std::perror("with_socket: cannot execute");
  return 69;
}
