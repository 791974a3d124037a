// A proxy that is a bad network: it stands between mc-push and mc-serve, both on loopback, and breaks what it is told
// to.
//
//   chaos_proxy [--seed N] [--notify-fd N] [--log FILE] [--fault NAME:PERCENT[:MS]]... [--rate BYTES_PER_S]
//               [--delay MS] [--cut-every MS[:PERCENT]] [--cuts N] [--calm-after N] [--kill FILE:N:US] SERVER_URL
//
// It listens on a port of the kernel's choice and writes its URL to the notify descriptor. It ends by SIGTERM, and says
// on stdout what it did: one line of NAME=COUNT. With --log, a line "STATUS METHOD TARGET SHA-256" for each answer that
// the server gave, written before a byte of it goes to the client: what a witness outside of the server saw.
//
// It understands as much HTTP/1.1 as both ends speak: Content-Length, keep-alive, no chunks. An exchange has at most
// one fault, drawn from the seed and the number of the exchange, so a seed is a sequence of faults (which request meets
// which fault depends on the threads of the client). Where a fault needs a place, it is drawn from the boundaries:
// before the first byte, inside the head, its end, the first byte of the body, inside it, its last byte.
//
//   refuse      the connection is reset before the request goes on         cut-up      both ways cut inside the request
//   drop        the answer is thrown away when the server has given it     cut-down    cut inside the answer
//   stall       nothing moves for MS, inside the request                   corrupt     one bit of the request's body
//   garble      one bit of the request's head or body                      twist       one bit of the answer
//   twice       the request goes to the server twice                       late        held back until others went by
//
// --rate is shared by all connections, upwards; --delay is added once to each request and once to each answer.
// --cut-every resets all connections, --cuts: so many times at most. --calm-after: no fault behind the N-th exchange,
// for clients that give up at some point. Bodies are at most 64 MiB: it is a test's tool, and holds a request whole
// only for `twice`.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "digest/sha256.hpp"
#include "sys/fd.hpp"
#include "sys/service_manager.hpp"
#include "sys/signals.hpp"
#include "wire/protocol.hpp"

namespace {

using namespace mc;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Being slow is what a bad line does: the one place where time is spent on purpose.
void hold(std::chrono::nanoseconds time) {
  if (time.count() <= 0) return;
  timespec left{static_cast<std::time_t>(time.count() / 1'000'000'000),
                static_cast<long>(time.count() % 1'000'000'000)};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

constexpr std::size_t kMaxHead = 64 * 1024;
constexpr std::uint64_t kMaxBody = std::uint64_t{64} << 20;
constexpr std::size_t kPiece = 16 * 1024;
constexpr std::size_t kMaxConnections = 512;
constexpr milliseconds kMostLate{300};

[[noreturn]] void die(const std::string& what, int code = 70) {
  std::fprintf(stderr, "chaos_proxy: %s\n", what.c_str());
  std::exit(code);
}

const char* const kFaults[] = {"refuse", "drop",     "stall",   "garble", "twice",
                               "cut-up", "cut-down", "corrupt", "twist",  "late"};

struct Rate {
  unsigned percent = 0;
  unsigned ms = 2000;
};

struct Options {
  std::uint64_t seed = 1;
  int notify_fd = -1;
  std::string log;
  std::map<std::string, Rate> faults;
  std::uint64_t rate = 0;
  unsigned delay_ms = 0;
  unsigned cut_every_ms = 0, cut_percent = 100, cuts = UINT32_MAX;
  std::uint64_t calm_after = UINT64_MAX;
  std::string kill_file;
  std::uint64_t kill_at = 0, kill_us = 0;
  std::uint16_t server_port = 0;
};

std::uint64_t number(std::string_view text, const char* what) {
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) die(std::string("not a number for ") + what, 64);
  return value;
}

// What it did, by name; also how many bytes came and went.
class Counts {
 public:
  void add(const std::string& what, std::uint64_t n = 1) {
    const std::lock_guard lock(mutex_);
    counts_[what] += n;
  }
  void print() {
    const std::lock_guard lock(mutex_);
    std::string line;
    for (const auto& [name, count] : counts_) line += name + "=" + std::to_string(count) + " ";
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> counts_;
};

struct Message {
  std::string head;  // with the empty line
  std::uint64_t body_bytes = 0;
  bool ends_connection = false;
  std::string first_word, second_word, digest;
  std::uint64_t size() const { return head.size() + body_bytes; }
};

std::string field(const std::string& head, std::string_view lower_case_name) {
  for (std::size_t at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size();
       at = head.find("\r\n", at + 2)) {
    const std::size_t colon = head.find(':', at + 2);
    if (colon == std::string::npos) break;
    std::string name = head.substr(at + 2, colon - at - 2);
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    if (name != lower_case_name) continue;
    const std::size_t end = head.find("\r\n", colon);
    std::size_t begin = colon + 1;
    while (begin < end && head[begin] == ' ') ++begin;
    return head.substr(begin, end - begin);
  }
  return {};
}

Message parse(std::string head) {
  Message message;
  const std::size_t one = head.find(' ');
  const std::size_t two = head.find_first_of(" \r", one + 1);
  message.first_word = head.substr(0, one);
  if (one != std::string::npos) message.second_word = head.substr(one + 1, two - one - 1);
  if (const std::string length = field(head, "content-length"); !length.empty()) {
    message.body_bytes = number(length, "Content-Length");
    if (message.body_bytes > kMaxBody) die("a body that is too large");
  }
  message.ends_connection = field(head, "connection") == "close";
  if (const auto base64 = wire::parse_digest(field(head, "repr-digest"))) {
    if (const auto raw = digest::from_base64(*base64)) message.digest = digest::to_hex(*raw);
  }
  message.head = std::move(head);
  return message;
}

// A socket, and what was read of it beyond what was asked for.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  int fd() const { return fd_.get(); }

  // A whole head, or nothing when the other side is gone.
  std::optional<std::string> read_head() {
    for (;;) {
      if (const auto end = buffer_.find("\r\n\r\n"); end != std::string::npos) {
        std::string head = buffer_.substr(0, end + 4);
        buffer_.erase(0, end + 4);
        return head;
      }
      if (buffer_.size() > kMaxHead || !more()) return std::nullopt;
    }
  }
  // Up to `most` bytes of a body; empty: gone.
  std::string read_some(std::uint64_t most) {
    if (buffer_.empty() && !more()) return {};
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>({most, buffer_.size(), kPiece}));
    std::string piece = buffer_.substr(0, n);
    buffer_.erase(0, n);
    return piece;
  }
  bool write(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // The next close is a reset.
  void be_rude() const {
    const linger now{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }

 private:
  bool more() {
    char piece[kPiece];
    const ssize_t n = ::recv(fd_.get(), piece, sizeof piece, 0);
    if (n <= 0) return false;
    buffer_.append(piece, static_cast<std::size_t>(n));
    return true;
  }
  sys::Fd fd_;
  std::string buffer_;
};

struct Plan {
  std::string fault;
  unsigned ms = 0;
  std::mt19937_64 random;
};

class Proxy {
 public:
  explicit Proxy(const Options& options) : options_(options) {
    if (!options.log.empty()) {
      log_ = sys::Fd(::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
      if (!log_.valid()) die("cannot open the log");
    }
  }

  void serve(int client_fd) {
    Peer client(client_fd);
    std::optional<Peer> server;
    enroll(client_fd);
    while (exchange(client, server)) {
    }
    // Out of the list first: what is closed may be another's descriptor by then.
    withdraw(client_fd);
    if (server) withdraw(server->fd());
  }

  // Every connection, now.
  void cut_all() {
    const std::lock_guard lock(mutex_);
    if (!open_.empty()) counts.add("cut-all");
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }

  Counts counts;

 private:
  void enroll(int fd) {
    const std::lock_guard lock(mutex_);
    open_.insert(fd);
  }
  void withdraw(int fd) {
    const std::lock_guard lock(mutex_);
    open_.erase(fd);
  }

  Plan draw() {
    const std::uint64_t n = ++exchanges_;
    if (n == options_.kill_at) std::thread([this] { kill_now(); }).detach();
    Plan plan{{}, 0, std::mt19937_64(options_.seed * 1'000'003 + n)};
    if (n > options_.calm_after) return plan;
    std::uint64_t dice = plan.random() % 100;
    for (const auto& [name, rate] : options_.faults) {
      if (dice < rate.percent) {
        plan.fault = name;
        plan.ms = rate.ms;
        break;
      }
      dice -= rate.percent;
    }
    return plan;
  }

  void kill_now() {
    hold(std::chrono::microseconds(options_.kill_us));
    for (int i = 0; i < 200; ++i) {
      if (std::FILE* file = std::fopen(options_.kill_file.c_str(), "r")) {
        for (int pid = 0; std::fscanf(file, "%d", &pid) == 1 && pid > 1;) {
          if (::kill(pid, SIGKILL) == 0) counts.add("killed");
        }
        std::fclose(file);
        return;
      }
      hold(milliseconds(10));
    }
    die("nobody to kill");
  }

  // One of the boundaries of a message, as a number of bytes before it.
  static std::uint64_t place(Plan& plan, const Message& message) {
    const std::uint64_t head = message.head.size(), all = message.size();
    const auto within = [&](std::uint64_t first, std::uint64_t end) {
      return end > first ? first + plan.random() % (end - first) : first;
    };
    switch (plan.random() % 8) {
      case 0: return 0;
      case 1: return within(1, head);
      case 2: return head;
      case 3: return std::min(head + 1, all);
      case 4: return all - 1;
      default: return within(head, all);
    }
  }

  // Takes its share of the rate's time.
  void pay(std::uint64_t bytes) {
    if (options_.rate == 0) return;
    SteadyClock::time_point until;
    {
      const std::lock_guard lock(mutex_);
      busy_until_ =
          std::max(busy_until_, SteadyClock::now()) + std::chrono::microseconds(bytes * 1'000'000 / options_.rate);
      until = busy_until_;
    }
    hold(until - SteadyClock::now());
  }

  void note(const std::string& status, const Message& request) {
    counts.add("status-" + status);
    if (!log_.valid()) return;
    const std::string line = status + " " + request.first_word + " " + request.second_word + " " +
                             (request.digest.empty() ? "-" : request.digest) + "\n";
    if (::write(log_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      die("cannot write the log", 74);
  }

  std::optional<Peer> connect_server() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(options_.server_port);
    Peer peer(fd);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      counts.add("server-not-there");
      return std::nullopt;
    }
    return peer;
  }

  // The same request on a connection of its own, as a resend of a middle box would be; the answer is read and dropped.
  void send_twin(const Message& request, const std::string& body) {
    auto server = connect_server();
    if (!server || !server->write(request.head + body)) return;
    const auto head = server->read_head();
    if (!head) return;
    note(parse(*head).second_word, request);
  }

  void wait_for_others() {
    std::unique_lock lock(mutex_);
    const std::uint64_t then = finished_;
    passed_.wait_for(lock, kMostLate, [&] { return finished_ >= then + 3; });
  }
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      ++finished_;
    }
    passed_.notify_all();
  }

  bool cut(Peer& client, std::optional<Peer>& server, Plan& plan) {
    if (plan.random() % 2 == 0) {
      client.be_rude();
      if (server) server->be_rude();
    }
    return false;
  }

  // One request and its answer; false: the connections are to be closed.
  bool exchange(Peer& client, std::optional<Peer>& server) {
    auto head = client.read_head();
    if (!head) return false;
    const Message request = parse(std::move(*head));
    counts.add("requests");
    Plan plan = draw();
    if (!plan.fault.empty()) counts.add("did-" + plan.fault);
    if (plan.fault == "refuse") {
      client.be_rude();
      return false;
    }
    if (plan.fault == "late") wait_for_others();
    if (options_.delay_ms > 0) hold(milliseconds(options_.delay_ms));
    if (!server) {
      server = connect_server();
      if (!server) return false;
      enroll(server->fd());
    }
    if (!send_request(client, server, request, plan)) return cut(client, server, plan);
    const bool goes_on = send_answer(client, *server, request, plan);
    finish();
    return goes_on ? true : cut(client, server, plan);
  }

  bool send_request(Peer& client, std::optional<Peer>& server, const Message& request, Plan& plan) {
    std::uint64_t stop_at = UINT64_MAX, bad_at = UINT64_MAX, stall_at = UINT64_MAX;
    if (plan.fault == "cut-up") stop_at = place(plan, request);
    if (plan.fault == "stall") stall_at = place(plan, request);
    if (plan.fault == "garble")
      bad_at = plan.random() % (plan.random() % 2 == 0 ? request.head.size() : request.size());
    if (plan.fault == "corrupt" && request.body_bytes > 0)
      bad_at = request.head.size() + plan.random() % request.body_bytes;
    const bool is_kept = plan.fault == "twice";
    std::string body;
    std::uint64_t done = 0;
    std::string piece = request.head;
    for (;;) {
      if (piece.empty() || (stop_at < done + piece.size())) {
        if (stop_at < done + piece.size()) {
          piece.resize(static_cast<std::size_t>(stop_at - done));
          if (server->write(piece)) counts.add("bytes-to-server", piece.size());
        }
        return false;
      }
      if (done >= request.head.size() && is_kept) body += piece;
      if (bad_at >= done && bad_at < done + piece.size()) {
        piece[static_cast<std::size_t>(bad_at - done)] ^= static_cast<char>(1U << (plan.random() % 8));
      }
      if (stall_at >= done && stall_at < done + piece.size()) hold(milliseconds(plan.ms));
      pay(piece.size());
      if (!server->write(piece)) return false;
      done += piece.size();
      counts.add("bytes-to-server", piece.size());
      if (done == request.size()) break;
      piece = client.read_some(request.size() - done);
      counts.add("body-bytes-up", piece.size());  // also what is cut off now: it was sent
    }
    if (is_kept) send_twin(request, body);
    return true;
  }

  bool send_answer(Peer& client, Peer& server, const Message& request, Plan& plan) {
    const auto head = server.read_head();
    if (!head) return false;
    Message answer = parse(*head);
    const bool has_body = request.first_word != "HEAD" && answer.second_word != "204" && answer.second_word != "304";
    if (!has_body) answer.body_bytes = 0;
    note(answer.second_word, request);
    if (plan.fault == "drop") return false;
    if (options_.delay_ms > 0) hold(milliseconds(options_.delay_ms));
    std::uint64_t stop_at = UINT64_MAX, bad_at = UINT64_MAX;
    if (plan.fault == "cut-down") stop_at = place(plan, answer);
    if (plan.fault == "twist") bad_at = plan.random() % answer.size();
    std::uint64_t done = 0;
    std::string piece = answer.head;
    for (;;) {
      if (piece.empty()) return false;
      if (stop_at < done + piece.size()) {
        piece.resize(static_cast<std::size_t>(stop_at - done));
        (void)client.write(piece);
        return false;
      }
      if (bad_at >= done && bad_at < done + piece.size()) {
        piece[static_cast<std::size_t>(bad_at - done)] ^= static_cast<char>(1U << (plan.random() % 8));
      }
      if (!client.write(piece)) return false;
      done += piece.size();
      counts.add("bytes-to-client", piece.size());
      if (done == answer.size()) break;
      piece = server.read_some(answer.size() - done);
    }
    return !answer.ends_connection && !request.ends_connection;
  }

  const Options& options_;
  sys::Fd log_;
  std::mutex mutex_;
  std::condition_variable passed_;
  std::set<int> open_;
  std::uint64_t finished_ = 0;
  SteadyClock::time_point busy_until_{};
  std::atomic<std::uint64_t> exchanges_{0};
};

Options read_options(int argc, char** argv) {
  Options options;
  const auto split = [](std::string_view& text) {
    const auto colon = text.find(':');
    const std::string_view first = text.substr(0, colon);
    text = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
    return first;
  };
  int i = 1;
  for (; i + 1 < argc && std::string_view(argv[i]).starts_with("--"); i += 2) {
    const std::string_view name = argv[i];
    std::string_view value = argv[i + 1];
    if (name == "--seed") {
      options.seed = number(value, "--seed");
    } else if (name == "--notify-fd") {
      options.notify_fd = static_cast<int>(number(value, "--notify-fd"));
    } else if (name == "--log") {
      options.log = value;
    } else if (name == "--rate") {
      options.rate = number(value, "--rate");
    } else if (name == "--delay") {
      options.delay_ms = static_cast<unsigned>(number(value, "--delay"));
    } else if (name == "--kill") {
      options.kill_file = split(value);
      options.kill_at = number(split(value), "--kill");
      options.kill_us = number(value, "--kill");
    } else if (name == "--calm-after") {
      options.calm_after = number(value, "--calm-after");
    } else if (name == "--cut-every") {
      options.cut_every_ms = static_cast<unsigned>(number(split(value), "--cut-every"));
      if (!value.empty()) options.cut_percent = static_cast<unsigned>(number(value, "--cut-every"));
    } else if (name == "--cuts") {
      options.cuts = static_cast<unsigned>(number(value, "--cuts"));
    } else if (name == "--fault") {
      const std::string fault(split(value));
      if (std::ranges::find(kFaults, fault) == std::end(kFaults)) die("no fault of this name: " + fault, 64);
      Rate& rate = options.faults[fault];
      rate.percent = static_cast<unsigned>(number(split(value), "--fault"));
      if (!value.empty()) rate.ms = static_cast<unsigned>(number(value, "--fault"));
    } else {
      die("no such option: " + std::string(name), 64);
    }
  }
  const std::string_view url = i + 1 == argc ? argv[i] : "";
  constexpr std::string_view kBefore = "http://127.0.0.1:";
  if (!url.starts_with(kBefore)) die("usage: chaos_proxy [options] http://127.0.0.1:PORT", 64);
  options.server_port = static_cast<std::uint16_t>(number(url.substr(kBefore.size()), "the port"));
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  auto stop = sys::StopSignals::install();
  if (!stop) die(stop.error().message);
  const sys::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 512) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    die("cannot listen");
  }
  Proxy proxy(options);
  if (!sys::notify_ready(options.notify_fd, "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port))))
    die("notify");

  std::atomic<std::size_t> connections{0};
  std::mt19937_64 random(options.seed);
  unsigned cuts_left = options.cuts;
  SteadyClock::time_point next_cut = SteadyClock::now() + milliseconds(options.cut_every_ms);
  for (;;) {
    int wait_ms = -1;
    if (options.cut_every_ms > 0) {
      wait_ms = static_cast<int>(
          std::max<std::int64_t>(std::chrono::ceil<milliseconds>(next_cut - SteadyClock::now()).count(), 0));
    }
    pollfd p[2] = {{stop->stop_fd(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    if (::poll(p, 2, wait_ms) < 0 && errno != EINTR) die("poll");
    if (p[0].revents != 0) break;
    if (options.cut_every_ms > 0 && SteadyClock::now() >= next_cut) {
      next_cut += milliseconds(options.cut_every_ms);
      if (cuts_left > 0 && random() % 100 < options.cut_percent) {
        --cuts_left;
        proxy.cut_all();
      }
    }
    if (p[1].revents == 0) continue;
    const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    if (connections >= kMaxConnections) {
      ::close(fd);
      continue;
    }
    ++connections;
    proxy.counts.add("connections");
    std::thread([&proxy, &connections, fd] {
      proxy.serve(fd);
      --connections;
    }).detach();
  }
  proxy.counts.print();
  std::_Exit(0);  // the threads that still wait for a peer go with the process
}
