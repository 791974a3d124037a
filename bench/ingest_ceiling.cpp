// bench-ingest-ceiling DIRECTORY: the least that a durable, checking receiver has to do, and nothing else: recv,
// SHA-256, write, fdatasync, rename, fsync of the directory, answer 201; a blocking thread for each connection. Prints
// its port. No limits, no parsing beyond a length and a digest, no protection: a yardstick for mc-serve, never a
// server.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "digest/sha256.hpp"
#include "sys/fd.hpp"

namespace {

// A directory for each connection, as each guest of the server has one.
void serve(int fd, std::string directory) {
  ::mkdir(directory.c_str(), 0777);
  const int directory_fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::vector<char> buffer(256 * 1024);
  std::string text;
  for (unsigned file = 1;; ++file) {
    std::size_t end = 0;
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
      const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (n <= 0) return;
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    std::size_t left = std::stoul(text.substr(text.find("Content-Length: ") + 16));
    const auto at = text.find("sha-256=:") + 9;
    const std::string digest = text.substr(at, text.find(':', at) - at);
    text.erase(0, end + 4);
    const std::string staged = directory + "/.stage", name = directory + "/chunk_" + std::to_string(file);
    const int out = ::open(staged.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    mc::digest::Sha256 hash;
    const auto take = [&](const char* data, std::size_t n) {
      const mc::ByteView bytes(reinterpret_cast<const std::uint8_t*>(data), n);
      hash.update(bytes);
      if (!mc::sys::write_all(out, bytes, staged)) std::exit(74);
      left -= n;
    };
    take(text.data(), std::min(text.size(), left));
    text.clear();
    while (left > 0) {
      const ssize_t n = ::recv(fd, buffer.data(), std::min(left, buffer.size()), 0);
      if (n <= 0) return;
      take(buffer.data(), static_cast<std::size_t>(n));
    }
    const bool stored = mc::digest::to_base64(hash.value()) == digest && ::fdatasync(out) == 0 && ::close(out) == 0 &&
                        ::rename(staged.c_str(), name.c_str()) == 0 && ::fsync(directory_fd) == 0;
    const std::string answer =
        std::string("HTTP/1.1 ") + (stored ? "201 Created" : "500 No") + "\r\nContent-Length: 0\r\n\r\n";
    if (!mc::sys::write_all(fd, mc::as_bytes(answer), "the client")) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 64) != 0) return 71;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  for (unsigned n = 0;; ++n) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([fd, directory = std::string(argv[1]) + "/" + std::to_string(n)] {
      serve(fd, directory);
      ::close(fd);
    }).detach();
  }
}
