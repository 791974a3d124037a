// bench-ingest-load URL-HOST PORT KIND CONNECTIONS SECONDS BYTES: sends files of BYTES over kept-alive HTTP connections
// as fast as they are answered, and prints one line: files/s, MB/s, p50 and p99 of PUT → answer in ms, the number of
// files. KIND is maycast or dav: the paths differ, and who wants a digest. Bodies and digests are made before the clock
// starts.
//
// bench-ingest-load HOST PORT idle N PID: opens N connections that say nothing after a first request each, and prints
// by how many bytes the resident memory of PID grew for each.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "digest/sha256.hpp"
#include "sys/fd.hpp"

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "bench-ingest-load: error: %s\n", why.c_str());
  std::exit(69);
}

int connect_to(const char* host, int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, host, &address.sin_addr);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("cannot connect");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// Reads one answer with its body; the status.
int answer(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0) die("the server ended the connection");
    text.append(buffer, static_cast<std::size_t>(n));
    const auto end = text.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    const auto at = text.find("Content-Length: ");
    const std::size_t length = at < end ? std::stoul(text.substr(at + 16)) : 0;
    if (text.size() >= end + 4 + length) return std::stoi(text.substr(9, 3));
  }
}

struct Body {
  std::string bytes, digest;
};
struct Done {
  std::vector<double> ms;
};

void send_files(const char* host, int port, bool dav, int connection, const std::vector<Body>& bodies,
                Clock::time_point until, Done& done) {
  const int fd = connect_to(host, port);
  const std::string guest = "bench-" + std::to_string(::getpid()) + "-" + std::to_string(connection);
  for (std::uint32_t n = 1; Clock::now() < until; ++n) {
    const Body& body = bodies[n % bodies.size()];
    char name[32];
    std::snprintf(name, sizeof name, "chunk_%06u.m4s", n);
    const std::string head = "PUT " + (dav ? "/bench/001/" : std::string("/v1/recordings/bench/001/")) + guest + "/" +
                             name +
                             " HTTP/1.1\r\nHost: bench\r\nMaycast-Recording: 0123456789abcdef0123456789abcdef\r\n"
                             "Repr-Digest: sha-256=:" +
                             body.digest + ":\r\nContent-Length: " + std::to_string(body.bytes.size()) + "\r\n\r\n";
    const auto began = Clock::now();
    if (!mc::sys::write_all(fd, mc::as_bytes(head), "the server") ||
        !mc::sys::write_all(fd, mc::as_bytes(body.bytes), "the server")) {
      die("the server ended the connection");
    }
    const int status = answer(fd);
    if (status != 201) die("answer " + std::to_string(status));
    done.ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - began).count());
  }
  ::close(fd);
}

std::size_t resident_bytes(const std::string& pid) {
  std::ifstream status("/proc/" + pid + "/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6)) * 1024;
  }
  die("no such process");
}

int idle(const char* host, int port, std::size_t n, const std::string& pid) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const std::size_t before = resident_bytes(pid);
  std::vector<int> connections;
  for (std::size_t i = 0; i < n; ++i) {
    const int fd = connect_to(host, port);
    if (!mc::sys::write_all(fd, mc::as_bytes("GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"), "the server") ||
        answer(fd) != 200) {
      die("an idle connection was not answered");
    }
    connections.push_back(fd);
  }
  std::printf("%.0f\n",
              (static_cast<double>(resident_bytes(pid)) - static_cast<double>(before)) / static_cast<double>(n));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 6 && std::string(argv[3]) == "idle")
    return idle(argv[1], std::atoi(argv[2]), std::stoul(argv[4]), argv[5]);
  if (argc != 7) die("usage: HOST PORT maycast|dav CONNECTIONS SECONDS BYTES");
  const bool dav = std::string(argv[3]) == "dav";
  const int connections = std::atoi(argv[4]);
  std::mt19937_64 random(1);
  std::vector<Body> bodies(32);
  for (Body& body : bodies) {
    body.bytes.resize(std::stoul(argv[6]));
    for (char& byte : body.bytes) byte = static_cast<char>(random());
    body.digest = mc::digest::to_base64(mc::digest::sha256(mc::as_bytes(body.bytes)));
  }
  std::vector<Done> done(static_cast<std::size_t>(connections));
  std::vector<std::thread> threads;
  const auto began = Clock::now();
  const auto until =
      began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::stod(argv[5])));
  for (int i = 0; i < connections; ++i) {
    threads.emplace_back(
        [&, i] { send_files(argv[1], std::atoi(argv[2]), dav, i, bodies, until, done[static_cast<std::size_t>(i)]); });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  std::vector<double> all;
  for (const Done& one : done) all.insert(all.end(), one.ms.begin(), one.ms.end());
  std::sort(all.begin(), all.end());
  const double rate = static_cast<double>(all.size()) / seconds;
  std::printf("%.1f %.1f %.2f %.2f %zu\n", rate, rate * std::stod(argv[6]) / 1e6, all[all.size() / 2],
              all[all.size() * 99 / 100], all.size());
  return 0;
}
