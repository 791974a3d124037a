// For tests of a server on real sockets: a client that says exactly what it is told to, and servers to say it to.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "server/server.hpp"
#include "sys/fd.hpp"
#include "unit/server_recording.hpp"

namespace mc::server {

using std::chrono::milliseconds;

class Client {
 public:
  explicit Client(const std::string& url) {
    const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
    fd_ = sys::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const timeval longest{20, 0};  // a test that hangs fails
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
  }

  bool send(std::string_view text) { return sys::write_all(fd_.get(), as_bytes(text), "socket").has_value(); }
  void finish() { ::shutdown(fd_.get(), SHUT_WR); }

  // One answer: head and body by its Content-Length. Empty when the connection ended before.
  std::string head, body;
  int status() {
    body.clear();
    head = std::exchange(rest_, {});
    while (head.find("\r\n\r\n") == std::string::npos) {
      if (!more(head)) return 0;
    }
    const auto end = head.find("\r\n\r\n") + 4;
    rest_ = head.substr(end);
    head.resize(end);
    const auto at = head.find("Content-Length: ");
    const std::size_t length = at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
    const bool has_body = !head_only && at != std::string::npos;
    while (has_body && rest_.size() < length) {
      if (!more(rest_)) return 0;
    }
    if (has_body) {
      body = rest_.substr(0, length);
      rest_.erase(0, length);
    }
    return std::stoi(head.substr(9, 3));
  }
  bool head_only = false;
  // What comes until the connection ends.
  std::string everything() {
    while (more(rest_)) {
    }
    return std::exchange(rest_, {});
  }
  bool ends_within(milliseconds longest) {
    pollfd poller{fd_.get(), POLLIN, 0};
    return ::poll(&poller, 1, static_cast<int>(longest.count())) != 0;
  }
  // The descriptor of the server's end, which is in this process too; -1: not found.
  int other_end() const {
    sockaddr_in mine{}, theirs{};
    socklen_t size = sizeof mine;
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&mine), &size);
    for (int fd = 0; fd < 1024; ++fd) {
      size = sizeof theirs;
      if (::getpeername(fd, reinterpret_cast<sockaddr*>(&theirs), &size) == 0 && theirs.sin_family == AF_INET &&
          theirs.sin_port == mine.sin_port) {
        return fd;
      }
    }
    return -1;
  }
  // Did the server end the connection in order (not by a reset)?
  bool is_closed() {
    char byte = 0;
    return rest_.empty() && ::recv(fd_.get(), &byte, 1, 0) == 0;
  }

 private:
  bool more(std::string& into) {
    char buffer[65536];
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    into.append(buffer, static_cast<std::size_t>(n));
    return true;
  }

  sys::Fd fd_;
  std::string rest_;
};

class Connections : public ServiceTest {
 protected:
  void serve(Limits limits = {}, AccessLog* access_log = nullptr) {
    Options options;
    options.listen = {parse_listen_address("127.0.0.1:0").value()};
    options.limits = limits;
    server_ = Server::start(*service_, metrics_, options, no_log(), access_log).value();
  }
  Client connect() { return Client(server_->urls().front()); }
  std::string put_head(const std::string& name, const std::string& bytes, const std::string& framing) {
    return "PUT " + wire::file_target(recording_.path, name) +
           " HTTP/1.1\r\nHost: x\r\nMaycast-Recording: " + recording_.id + "\r\nRepr-Digest: " + digest_header(bytes) +
           "\r\n" + framing + "\r\n\r\n";
  }
  std::string put_text(const std::string& name, const std::string& bytes) {
    return put_head(name, bytes, "Content-Length: " + std::to_string(bytes.size())) + bytes;
  }
  static std::string get_text(const std::string& target) { return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n"; }

  TestRecording recording_;
  std::unique_ptr<Server> server_;
};

constexpr char kChunk[] = "chunk_000001.m4s";

}  // namespace mc::server
