#include "server/server.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <list>
#include <thread>

#include "server/connection.hpp"

namespace mc::server {
namespace {

using net::ip::tcp;

constexpr std::size_t kRefusedAtOnce = 64;  // connections that are being told "too many"; more are just closed
constexpr std::chrono::milliseconds kAcceptPause{100};

// The only translator of error_code.
Error network_error(const error_code& ec, const std::string& what) {
  ErrorKind kind = ErrorKind::io;
  if (ec == net::error::address_in_use) kind = ErrorKind::unavailable;
  if (ec == net::error::access_denied) kind = ErrorKind::permission;
  if (ec == boost::system::errc::address_not_available) kind = ErrorKind::config;
  std::string reason = ec.message();
  if (!reason.empty() && reason[0] >= 'A' && reason[0] <= 'Z') reason[0] = static_cast<char>(reason[0] - 'A' + 'a');
  return {kind, what + ": " + reason, ec.value(), {}};
}

// One listening socket; its operations run on its strand.
class Listener {
 public:
  Listener(net::io_context& io, Shared& shared)
      : io_(io), shared_(shared), acceptor_(net::make_strand(io)), pause_(acceptor_.get_executor()) {}

  Result<ListenAddress> open(const ListenAddress& address) {
    const std::string what = "cannot listen on '" + address.host + ":" + std::to_string(address.port) + "'";
    error_code ec;
    const tcp::endpoint wanted(net::ip::make_address(address.host, ec), address.port);
    if (!ec) acceptor_.open(wanted.protocol(), ec);
    if (!ec) acceptor_.set_option(net::socket_base::reuse_address(true), ec);
    if (!ec && wanted.protocol() == tcp::v6()) acceptor_.set_option(net::ip::v6_only(true), ec);
    if (!ec) acceptor_.bind(wanted, ec);
    if (!ec) acceptor_.listen(net::socket_base::max_listen_connections, ec);
    if (ec) return fail(network_error(ec, what));
    ListenAddress real = address;
    real.port = acceptor_.local_endpoint(ec).port();
    if (ec) return fail(network_error(ec, what));
    return real;
  }

  Status adopt(InheritedSocket inherited) {
    error_code ec;
    const bool is_v6 = inherited.address.host.find(':') != std::string::npos;
    acceptor_.assign(is_v6 ? tcp::v6() : tcp::v4(), inherited.socket.get(), ec);
    if (ec) return fail(network_error(ec, "cannot listen on the service manager's socket"));
    (void)inherited.socket.release();
    return {};
  }

  void accept() {
    acceptor_.async_accept(net::make_strand(io_), [this](error_code ec, tcp::socket socket) {
      if (ec == net::error::operation_aborted || !acceptor_.is_open()) return;
      if (!ec) {
        welcome(std::move(socket));
        return accept();
      }
      // Out of descriptors, or a peer that was gone again at once: neither is a reason to stop listening.
      pause_.expires_after(kAcceptPause);
      pause_.async_wait([this](error_code cancelled) {
        if (!cancelled && acceptor_.is_open()) accept();
      });
    });
  }

  void close() {
    net::post(acceptor_.get_executor(), [this] {
      error_code ec;
      acceptor_.close(ec);
      pause_.cancel();
    });
  }

 private:
  void welcome(tcp::socket socket) {
    auto connection = std::make_shared<Connection>(std::move(socket), shared_);
    std::shared_ptr<Connection> makes_room;
    std::size_t open = 0;
    {
      const std::lock_guard lock(shared_.mutex);
      if (shared_.stopping) return;
      if (shared_.connections.size() >= shared_.limits.connections) makes_room = longest_idle();
      shared_.connections.emplace(connection.get(), connection);
      open = shared_.connections.size();
    }
    if (makes_room) {
      makes_room->make_room();
      connection->start();
    } else if (open <= shared_.limits.connections) {
      connection->start();
    } else if (open <= shared_.limits.connections + kRefusedAtOnce) {
      connection->refuse();
    }
  }

  // An idle connection may be closed at any time (RFC 9112 9.5), and its client will open another; a client that is
  // refused can do nothing. Whoever opens connections only to have them loses them so. Under the lock.
  std::shared_ptr<Connection> longest_idle() {
    Connection* longest = nullptr;
    std::int64_t since = Connection::now_ms() - shared_.limits.spare_idle.count();
    for (const auto& [raw, weak] : shared_.connections) {
      const std::int64_t idle_since = raw->idle_since_ms();
      if (idle_since == Connection::kBusy || idle_since > since) continue;
      since = idle_since;
      longest = raw;
    }
    // Claimed, so that the next newcomer takes another one. Null when it is just going away by itself.
    if (longest != nullptr) longest->claim();
    return longest == nullptr ? nullptr : shared_.connections.at(longest).lock();
  }

  net::io_context& io_;
  Shared& shared_;
  tcp::acceptor acceptor_;
  net::steady_timer pause_;
};

}  // namespace

class Server::Impl {
 public:
  Impl(Service& service, Metrics& metrics, const Options& options, AccessLog* access_log)
      : shared(service, metrics, options, access_log), io(static_cast<int>(options.io_threads)) {}

  Shared shared;  // before `io`: connections die with the handlers that hold them
  net::io_context io;
  std::list<Listener> listeners;
  net::executor_work_guard<net::io_context::executor_type> busy{net::make_work_guard(io)};
  std::vector<std::thread> threads;
  std::vector<std::string> urls;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(); }
const std::vector<std::string>& Server::urls() const { return impl_->urls; }

Result<std::unique_ptr<Server>> Server::start(Service& service, Metrics& metrics, const Options& options, Log log,
                                              AccessLog* access_log, std::vector<InheritedSocket> inherited) {
  auto impl = std::make_unique<Impl>(service, metrics, options, access_log);
  if (options.tls) {
    MC_TRY_ASSIGN(impl->shared.tls, Tls::load(*options.tls, log));
  }
  for (const ListenAddress& address : options.listen) {
    MC_TRY_ASSIGN(const ListenAddress real, impl->listeners.emplace_back(impl->io, impl->shared).open(address));
    impl->urls.push_back(base_url(real, options.tls ? Scheme::https : Scheme::http));
  }
  for (InheritedSocket& socket : inherited) {
    impl->urls.push_back(base_url(socket.address, options.tls ? Scheme::https : Scheme::http));
    MC_TRY(impl->listeners.emplace_back(impl->io, impl->shared).adopt(std::move(socket)));
  }
  for (Listener& listener : impl->listeners) listener.accept();
  for (std::size_t i = 0; i < options.io_threads; ++i) {
    impl->threads.emplace_back([&io = impl->io, log] {
      // A handler that throws (out of memory) ends its own connection, not the server.
      for (;;) {
        try {
          io.run();
          return;
        } catch (const std::exception& e) {
          log(LogLevel::error, std::string("a connection was given up: ") + e.what());
        }
      }
    });
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::stop() {
  if (impl_->threads.empty()) return;
  Shared& shared = impl_->shared;
  for (Listener& listener : impl_->listeners) listener.close();
  const auto tell_all = [&shared](void (Connection::*what)()) {
    std::vector<std::shared_ptr<Connection>> open;
    {
      const std::lock_guard lock(shared.mutex);
      shared.stopping = true;
      for (const auto& [raw, weak] : shared.connections) {
        if (auto connection = weak.lock()) open.push_back(std::move(connection));
      }
    }
    for (const auto& connection : open) ((*connection).*what)();
  };
  tell_all(&Connection::stop);
  const auto all_gone = [&shared] { return shared.connections.empty(); };
  std::unique_lock lock(shared.mutex);
  if (!shared.changed.wait_for(lock, shared.limits.stop_grace, all_gone)) {
    lock.unlock();
    tell_all(&Connection::abort);
    lock.lock();
    // What is left waits for the store, not for a peer.
    shared.changed.wait(lock, all_gone);
  }
  lock.unlock();
  shared.workers.join();
  shared.auditors.join();
  shared.joiners.join();
  shared.resumers.join();
  impl_->busy.reset();
  for (std::thread& thread : impl_->threads) thread.join();
  impl_->threads.clear();
}

}  // namespace mc::server
