// The network side: listens, reads requests, hands them to Service on worker threads, writes the answers. Beast and
// Asio stay behind this header, in server.cpp and connection.cpp.
//
//   MC_TRY_ASSIGN(auto server, Server::start(service, metrics, options, log, access_log));
//   … server->urls() …                 // it answers from here on
//   server->stop();                    // no new connections; requests in flight are finished; then returns
//
// Threads: io threads move bytes and never touch the store; `workers` do the store's blocking work, one job per
// connection at a time; `auditors` do what may take long (audits, listings), so that it never holds up an upload.
// Limits are per connection and end in a closed connection or a 4xx, never in a stop of the others.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "server/access_log.hpp"
#include "server/listen_address.hpp"
#include "server/metrics.hpp"
#include "server/service.hpp"

namespace mc::server {

struct Limits {
  std::uint32_t header_bytes = 16 * 1024;
  std::size_t connections = 4096;                // more are answered 503 when none of them is idle
  std::chrono::milliseconds idle{60'000};        // from the end of a request to the end of the next one's header
  std::chrono::milliseconds spare_idle{1'000};   // who has waited so long for a request makes room for a new connection
  std::chrono::milliseconds stall{30'000};       // without a byte of a body, in either direction
  std::chrono::milliseconds window{60'000};      // of waiting for a peer, in which
  std::uint64_t window_bytes = 16 * 1024;        // so much must come, or be taken (pace.hpp)
  std::chrono::milliseconds linger{5'000};       // for a peer that still sends after our last answer
  std::chrono::milliseconds stop_grace{30'000};  // for requests in flight when the server is asked to stop
};

struct TlsFiles {
  std::string certificate;  // PEM: the server's own first, then those that lead to an authority
  std::string key;          // PEM, of a mode that keeps others out
};

// A socket that listens already, as a service manager opens it.
struct InheritedSocket {
  sys::Fd socket;
  ListenAddress address;
};

struct Options {
  std::vector<ListenAddress> listen;
  std::optional<TlsFiles> tls;  // on all of them; looked at again for each connection, so that they can be renewed
  Limits limits;
  std::size_t io_threads = 2;
  std::size_t workers = 8;
  std::size_t auditors = 2;
};

class Server {
 public:
  // `service` and `metrics` are borrowed; `access_log` may be null; `inherited` is taken over. Kinds: unavailable
  // (address in use), permission, config (no such address here, or TLS cannot be had with these files), io.
  static Result<std::unique_ptr<Server>> start(Service& service, Metrics& metrics, const Options& options, Log log,
                                               AccessLog* access_log, std::vector<InheritedSocket> inherited = {});
  ~Server();  // stops

  // Base URLs with the real ports, in the order of Options::listen, then those of the inherited sockets.
  const std::vector<std::string>& urls() const;
  void stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mc::server
