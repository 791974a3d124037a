// The bytes of one connection, whether they go over TLS or not: what Connection reads from and writes to. An Asio
// AsyncStream whose operations are those of the TCP stream or of the TLS stream above it, so that the connection is one
// class and not a template. Deadlines are those of the TCP stream in both cases. Private to connection.cpp.
//
// Over TLS: async_handshake first; async_shutdown before the TCP connection is ended, so that the peer knows the end
// from a cut. give_up_tls() makes the operations go to TCP from there on.
//
// An idle connection over TLS costs about 100 KB more: the buffers of OpenSSL and of Asio's engine.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>
#include <memory>
#include <optional>

namespace mc::server {

class PeerStream {
 public:
  using Tcp = boost::beast::tcp_stream;
  using TlsStream = boost::asio::ssl::stream<Tcp&>;
  using executor_type = Tcp::executor_type;

  // `context` is null for a connection without TLS.
  PeerStream(boost::asio::ip::tcp::socket socket, std::shared_ptr<boost::asio::ssl::context> context)
      : tcp_(std::move(socket)), context_(std::move(context)) {
    if (context_) {
      tls_ = std::make_unique<TlsStream>(tcp_, *context_);
      over_tls_ = true;
    }
  }

  executor_type get_executor() noexcept { return tcp_.get_executor(); }
  void expires_after(std::chrono::nanoseconds from_now) { tcp_.expires_after(from_now); }
  void expires_at(std::chrono::steady_clock::time_point when) { tcp_.expires_at(when); }
  void expires_never() { tcp_.expires_never(); }
  boost::asio::ip::tcp::socket& socket() { return tcp_.socket(); }
  bool is_over_tls() const { return over_tls_; }
  void give_up_tls() { over_tls_ = false; }

  template <class Handler>
  void async_handshake(Handler&& handler) {
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
  }
  template <class Handler>
  void async_shutdown(Handler&& handler) {
    tls_->async_shutdown(std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (over_tls_) return tls_->async_read_some(buffers, std::forward<Handler>(handler));
    tcp_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (over_tls_) return tls_->async_write_some(buffers, std::forward<Handler>(handler));
    tcp_.async_write_some(buffers, std::forward<Handler>(handler));
  }

 private:
  Tcp tcp_;
  std::shared_ptr<boost::asio::ssl::context> context_;  // outlives the stream above it
  std::unique_ptr<TlsStream> tls_;
  bool over_tls_ = false;
};

}  // namespace mc::server
