// A little HTTP/1.1 server for the tests of http and upload: a thread per connection on loopback, and a function that
// answers. It knows Content-Length and keep-alive, and nothing else.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "sys/fd.hpp"

namespace mc::test {

struct FakeRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body = {};
};

struct FakeAnswer {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/octet-stream";
  std::vector<std::string> more_headers = {};  // "Name: value"
  // raw: the body is sent as it is; hang: it too, and then nothing comes
  enum class Fate { answer, hang_up, hang, raw } fate = Fate::answer;
};

class FakeServer {
 public:
  using Handler = std::function<FakeAnswer(const FakeRequest&)>;  // called from many threads, one at a time

  explicit FakeServer(Handler handler) : handler_(std::move(handler)) { start(0); }
  ~FakeServer() { stop(); }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int connections() const { return connections_; }

  // Asked when a head has come: nothing, or that the connection breaks after so many bytes of the body, which `broke`
  // then gets. Under the same lock as the handler.
  std::function<std::optional<std::size_t>(const FakeRequest&)> breaks;
  std::function<void(const FakeRequest&)> broke;

  // For a look at what the handler writes, while requests may come in.
  template <typename Function>
  auto locked(Function&& look) {
    const std::lock_guard lock(handler_mutex_);
    return look();
  }

  // Down: every connection is cut and new ones are refused. Up again on the same port.
  void stop() {
    if (!listener_.valid()) return;
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    listener_ = sys::Fd();
  }
  void start_again() { start(port_); }

 private:
  void start(std::uint16_t port) {
    listener_ = sys::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
    if (::listen(listener_.get(), 64) != 0) std::abort();
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] {
      for (;;) {
        const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        ++connections_;
        const std::lock_guard lock(mutex_);
        open_.push_back(fd);
        workers_.emplace_back([this, fd] { serve(fd); });
      }
    });
  }

  void serve(int fd) {
    std::string buffer;
    while (serve_one(fd, buffer)) {
    }
    const std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  static bool more(int fd, std::string& buffer) {
    char piece[65536];
    const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
    if (n <= 0) return false;
    buffer.append(piece, static_cast<std::size_t>(n));
    return true;
  }

  bool serve_one(int fd, std::string& buffer) {
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      if (!more(fd, buffer)) return false;
    }
    FakeRequest request;
    const std::string head = buffer.substr(0, end);
    buffer.erase(0, end + 4);
    request.method = head.substr(0, head.find(' '));
    const auto target_at = request.method.size() + 1;
    request.target = head.substr(target_at, head.find(' ', target_at) - target_at);
    for (std::size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
      const std::string line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
      const auto colon = line.find(':');
      std::string name = line.substr(0, colon);
      std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
      if (colon != std::string::npos) request.headers[name] = line.substr(std::min(colon + 2, line.size()));
    }
    std::size_t length = 0;
    const std::string& text = request.headers["content-length"];
    std::from_chars(text.data(), text.data() + text.size(), length);
    std::size_t wanted = length;
    if (breaks) {
      const std::lock_guard lock(handler_mutex_);
      wanted = std::min(length, breaks(request).value_or(length));
    }
    while (buffer.size() < wanted) {
      if (!more(fd, buffer)) return false;
    }
    if (wanted < length) {
      const std::lock_guard lock(handler_mutex_);
      request.body = buffer.substr(0, wanted);
      broke(request);
      return false;
    }
    request.body = buffer.substr(0, length);
    buffer.erase(0, length);
    FakeAnswer answer;
    {
      const std::lock_guard lock(handler_mutex_);
      answer = handler_(request);
    }
    if (answer.fate == FakeAnswer::Fate::hang_up) return false;
    if (answer.fate == FakeAnswer::Fate::hang) {
      (void)::send(fd, answer.body.data(), answer.body.size(), MSG_NOSIGNAL);
      while (more(fd, buffer)) {
      }
      return false;
    }
    std::string out;
    if (answer.fate == FakeAnswer::Fate::answer) {
      out = "HTTP/1.1 " + std::to_string(answer.status) + " X\r\nContent-Type: " + answer.content_type +
            "\r\nContent-Length: " + std::to_string(answer.body.size()) + "\r\n";
      for (const std::string& line : answer.more_headers) out += line + "\r\n";
      out += "\r\n";
    }
    if (request.method != "HEAD") out += answer.body;
    const bool sent = ::send(fd, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size());
    return sent && answer.fate == FakeAnswer::Fate::answer;
  }

  Handler handler_;
  std::uint16_t port_ = 0;
  sys::Fd listener_;
  std::thread acceptor_;
  std::mutex handler_mutex_;
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> workers_;
  std::atomic<int> connections_{0};
};

}  // namespace mc::test
