// Many guests at once: each one uploads a chunk a second over its own kept-alive connection, with digests that were
// computed beforehand, from one thread. For the load test and the benchmark of mc-serve.
//
//   guests_load [--guests N] [--seconds N] [--bytes N] [--idle N] --server-pid PID http://127.0.0.1:PORT
//
// The guests' seconds are spread evenly. The time of a PUT runs from the moment at which it was due, whether or not the
// connection was free by then, to its 201. Prints one line of NAME=VALUE: how many PUTs and errors; p50, p99 and
// maximum in milliseconds; what /proc says of the server: memory before, and at most, in KiB, and seconds of processor.
// --idle: before that, so many connections that each made one small request and stay open, and what one of them costs
// the server in bytes.
//
// Exit 1: an answer other than 201, a connection that broke, or a PUT that was not answered 30 s behind the last
// second.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "digest/sha256.hpp"
#include "sys/fd.hpp"
#include "wire/names.hpp"
#include "wire/protocol.hpp"

namespace {

using namespace mc;

constexpr std::int64_t kSecond = 1'000'000'000;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "guests_load: %s\n", what.c_str());
  std::exit(70);
}

std::int64_t now_ns() { return system_clock().monotonic_ns(); }

struct Options {
  unsigned guests = 200, seconds = 60, bytes = 100'000, idle = 0;
  int server_pid = 0;
  std::uint16_t port = 0;
};

// A line of /proc/PID/status in KiB.
long status_kb(int pid, const std::string& name) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(name + ":")) return std::atol(line.c_str() + name.size() + 1);
  }
  die("no server of this pid");
}

double processor_s(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  text.erase(0, text.rfind(')') + 2);
  unsigned long user = 0, system = 0;
  std::sscanf(text.c_str(), "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

sys::Fd connect_to(std::uint16_t port) {
  sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("cannot connect");
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return fd;
}

struct Chunk {
  std::string body;
  std::string digest;
};

struct Guest {
  sys::Fd fd;
  std::string path, id;
  std::deque<std::pair<unsigned, std::int64_t>> due;  // chunk, when
  bool busy = false;
  std::string head, answer;
  const Chunk* chunk = nullptr;
  std::size_t sent = 0;
  std::int64_t since_ns = 0;
};

class Load {
 public:
  explicit Load(const Options& options) : options_(options), poll_(::epoll_create1(EPOLL_CLOEXEC)) {
    std::mt19937_64 random(1);
    for (unsigned i = 0; i < options.seconds; ++i) {
      Chunk chunk;
      chunk.body.resize(options.bytes);
      for (char& c : chunk.body) c = static_cast<char>(random());
      chunk.digest = wire::format_digest(digest::to_base64(digest::sha256(as_bytes(chunk.body))));
      chunks_.push_back(std::move(chunk));
    }
    guests_.resize(options.guests);
    for (unsigned i = 0; i < options.guests; ++i) {
      Guest& guest = guests_[i];
      guest.fd = connect_to(options.port);
      guest.path = "guest-" + std::to_string(i);
      char id[33];
      std::snprintf(id, sizeof id, "%032x", i + 1);
      guest.id = id;
      watch(i, EPOLLIN);
    }
  }

  bool run() {
    const std::int64_t start = now_ns(), step = kSecond / options_.guests;
    const std::int64_t last = start + (options_.seconds + 30) * kSecond;
    const std::uint64_t all = std::uint64_t{options_.guests} * options_.seconds;
    std::uint64_t next = 0;  // in the order of time: guest next % guests, chunk next / guests
    std::vector<epoll_event> events(256);
    while (latencies_ns.size() + errors < all && now_ns() < last) {
      for (; next < all && start + static_cast<std::int64_t>(next) * step <= now_ns(); ++next) {
        const auto i = static_cast<unsigned>(next % options_.guests);
        if (!guests_[i].fd.valid()) {
          ++errors;
          continue;
        }
        guests_[i].due.emplace_back(next / options_.guests, start + static_cast<std::int64_t>(next) * step);
        begin(i);
      }
      const int n = ::epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), 1);
      for (int k = 0; k < n; ++k) {
        const unsigned i = events[static_cast<std::size_t>(k)].data.u32;
        if ((events[static_cast<std::size_t>(k)].events & EPOLLOUT) != 0) send(i);
        if ((events[static_cast<std::size_t>(k)].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(i);
      }
    }
    errors += all - std::min(all, latencies_ns.size() + errors);
    return errors == 0;
  }

  std::vector<std::int64_t> latencies_ns;
  std::uint64_t errors = 0;

 private:
  void watch(unsigned i, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u32 = i;
    if (::epoll_ctl(poll_.get(), EPOLL_CTL_MOD, guests_[i].fd.get(), &event) != 0 &&
        ::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, guests_[i].fd.get(), &event) != 0) {
      die("epoll");
    }
  }

  void begin(unsigned i) {
    Guest& guest = guests_[i];
    if (guest.busy || guest.due.empty()) return;
    const auto [chunk, when] = guest.due.front();
    guest.due.pop_front();
    guest.busy = true;
    guest.since_ns = when;
    guest.chunk = &chunks_[chunk];
    guest.head = "PUT " + wire::file_target({"load", "001", guest.path}, wire::chunk_name({chunk + 1})) +
                 " HTTP/1.1\r\nHost: x\r\n" + wire::kRecordingHeader + ": " + guest.id + "\r\n" +
                 wire::kReprDigestHeader + ": " + guest.chunk->digest +
                 "\r\nContent-Length: " + std::to_string(guest.chunk->body.size()) + "\r\n\r\n";
    guest.sent = 0;
    send(i);
  }

  void send(unsigned i) {
    Guest& guest = guests_[i];
    while (guest.busy && guest.sent < guest.head.size() + guest.chunk->body.size()) {
      std::string_view rest = guest.sent < guest.head.size()
                                  ? std::string_view(guest.head).substr(guest.sent)
                                  : std::string_view(guest.chunk->body).substr(guest.sent - guest.head.size());
      const ssize_t n = ::send(guest.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) return watch(i, EPOLLIN | EPOLLOUT);
      if (n <= 0) return broke(i, "a connection broke");
      guest.sent += static_cast<std::size_t>(n);
    }
    watch(i, EPOLLIN);
  }

  void receive(unsigned i) {
    Guest& guest = guests_[i];
    char piece[4096];
    const ssize_t n = ::recv(guest.fd.get(), piece, sizeof piece, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return broke(i, "the server closed a connection");
    guest.answer.append(piece, static_cast<std::size_t>(n));
    if (guest.answer.find("\r\n\r\n") == std::string::npos) return;
    if (!guest.answer.starts_with("HTTP/1.1 201 ")) return broke(i, guest.answer.substr(0, guest.answer.find('\r')));
    guest.answer.clear();
    guest.busy = false;
    latencies_ns.push_back(now_ns() - guest.since_ns);
    begin(i);
  }

  void broke(unsigned i, const std::string& why) {
    Guest& guest = guests_[i];
    if (errors == 0) std::fprintf(stderr, "guests_load: %s: %s\n", guest.path.c_str(), why.c_str());
    errors += 1 + guest.due.size();
    guest.due.clear();
    guest.busy = false;
    guest.fd = sys::Fd();
  }

  const Options& options_;
  sys::Fd poll_;
  std::vector<Chunk> chunks_;
  std::vector<Guest> guests_;
};

// Bytes of the server's memory for each of `count` idle connections.
double measure_idle(const Options& options) {
  const auto ask = [](const sys::Fd& fd) {
    const std::string request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[4096];
    if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
      die("send");
    const auto ready = sys::wait_readable(fd.get(), 10'000);
    if (!ready || !*ready || ::recv(fd.get(), answer, sizeof answer, 0) <= 0) die("no answer");
  };
  ask(connect_to(options.port));
  const long before = status_kb(options.server_pid, "VmRSS");
  std::vector<sys::Fd> idle;
  for (unsigned i = 0; i < options.idle; ++i) {
    idle.push_back(connect_to(options.port));
    ask(idle.back());
  }
  const long after = status_kb(options.server_pid, "VmRSS");
  return static_cast<double>(after - before) * 1024 / options.idle;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  int i = 1;
  for (; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const auto value = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    if (name == "--guests")
      options.guests = value;
    else if (name == "--seconds")
      options.seconds = value;
    else if (name == "--bytes")
      options.bytes = value;
    else if (name == "--idle")
      options.idle = value;
    else if (name == "--server-pid")
      options.server_pid = static_cast<int>(value);
    else
      break;
  }
  if (i + 1 != argc || options.server_pid == 0 || options.guests == 0 || options.seconds == 0) {
    std::fprintf(stderr, "usage: guests_load [--guests N] [--seconds N] [--bytes N] [--idle N] --server-pid PID URL\n");
    return 64;
  }
  const std::string url = argv[i];
  options.port = static_cast<std::uint16_t>(std::atoi(url.c_str() + url.rfind(':') + 1));
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);

  std::string line;
  if (options.idle > 0)
    line = "idle_connection_bytes=" + std::to_string(static_cast<long>(measure_idle(options))) + " ";
  const long before = status_kb(options.server_pid, "VmRSS");
  const double processor = processor_s(options.server_pid);
  Load load(options);
  const bool is_clean = load.run();
  auto& all = load.latencies_ns;
  std::ranges::sort(all);
  const auto ms = [&](double share) {
    return all.empty()
               ? 0
               : static_cast<double>(all[static_cast<std::size_t>(share * static_cast<double>(all.size() - 1))]) / 1e6;
  };
  std::printf(
      "%sguests=%u seconds=%u bytes=%u puts=%zu errors=%llu p50_ms=%.2f p99_ms=%.2f max_ms=%.2f rss_before_kib=%ld "
      "rss_peak_kib=%ld processor_s=%.2f\n",
      line.c_str(), options.guests, options.seconds, options.bytes, all.size(),
      static_cast<unsigned long long>(load.errors), ms(0.5), ms(0.99), ms(1), before,
      status_kb(options.server_pid, "VmHWM"), processor_s(options.server_pid) - processor);
  return is_clean ? 0 : 1;
}
