#include "control/ws_stream.hpp"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <type_traits>

#include "http/answer.hpp"

namespace mc::control {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using boost::system::error_code;

constexpr std::size_t kMostMessageBytes = 16U << 20;  // as much as a polled answer may have
constexpr char kOpening[] = "cannot open the control connection";
constexpr unsigned char kHttp1[] = "\x08http/1.1";

// Types of our own, so that websocket::stream finds our async_teardown.
struct Plain : beast::tcp_stream {
  using beast::tcp_stream::tcp_stream;
};
struct Secure : beast::ssl_stream<beast::tcp_stream> {
  using beast::ssl_stream<beast::tcp_stream>::ssl_stream;
};
// How Beast ends a connection, and only then tells why. Its own way waits until the server ends its side too (RFC 6455
// 7.1.1: "SHOULD"), which one that means no good never does.
template <class Handler>
void leave_now(beast::tcp_stream& stream, Handler&& handler) {
  error_code ignored;
  stream.socket().shutdown(net::ip::tcp::socket::shutdown_both, ignored);
  net::post(stream.get_executor(), [handler = std::forward<Handler>(handler)]() mutable { handler(error_code{}); });
}
template <class Handler>
void async_teardown(beast::role_type, Plain& stream, Handler&& handler) {
  leave_now(stream, std::forward<Handler>(handler));
}
template <class Handler>
void async_teardown(beast::role_type, Secure& stream, Handler&& handler) {
  leave_now(stream.next_layer(), std::forward<Handler>(handler));
}

using Context = std::shared_ptr<net::ssl::context>;

// The only translator of error_code here.
Error stream_error(const error_code& ec, const std::string& what) {
  ErrorKind kind = ErrorKind::unavailable;
  std::string reason = ec.message();
  const bool is_end = ec == net::error::eof || ec == net::error::connection_reset || ec == net::error::broken_pipe ||
                      ec == net::ssl::error::stream_truncated || ec == beast::http::error::end_of_stream ||
                      ec == beast::http::error::partial_message;
  if (is_end) {
    reason = "the server ended it";
  } else if (ec.category() == error_code(websocket::error::closed).category() ||
             ec.category() == error_code(beast::http::error::bad_value).category()) {
    kind = ErrorKind::protocol;
  }
  if (!reason.empty() && reason[0] >= 'A' && reason[0] <= 'Z') reason[0] = static_cast<char>(reason[0] - 'A' + 'a');
  return {kind, what + ": " + reason, 0, {}};
}

Error tls_error(const error_code& ec, SSL* ssl, const std::string& host) {
  if (ec.category() != net::error::get_ssl_category() ||
      ERR_GET_REASON(static_cast<unsigned long>(ec.value())) != SSL_R_CERTIFICATE_VERIFY_FAILED) {
    return stream_error(ec, std::string(kOpening) + " over TLS");
  }
  const long result = ::SSL_get_verify_result(ssl);
  // Its chain is good, and host_name_verification had something against it all the same.
  const bool is_other_host = result == X509_V_OK || result == X509_V_ERR_UNSPECIFIED;
  return {ErrorKind::refused,
          std::string(kOpening) + ": the server's certificate is not trusted: " +
              (is_other_host ? "it is not for '" + host + "'" : ::X509_verify_cert_error_string(result)),
          0, "--cacert names a file with the certificate to trust"};
}

Result<Context> client_context(const std::string& ca_file) {
  error_code ec;
  Context context;
  try {
    context = std::make_shared<net::ssl::context>(net::ssl::context::tls_client);
  } catch (const std::exception& e) {
    return fail(ErrorKind::unavailable, std::string("cannot set TLS up: ") + e.what());
  }
  ::SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  ::SSL_CTX_set_alpn_protos(context->native_handle(), kHttp1, sizeof kHttp1 - 1);
  context->set_verify_mode(net::ssl::verify_peer, ec);
  if (ca_file.empty()) {
    context->set_default_verify_paths(ec);
  } else {
    context->load_verify_file(ca_file, ec);
  }
  if (ec) return fail(ErrorKind::config, "cannot use the certificates of '" + ca_file + "': " + ec.message());
  return context;
}

template <class Next>
class WsStreamOver final : public WsStream, public std::enable_shared_from_this<WsStreamOver<Next>> {
 public:
  template <class... Arguments>
  explicit WsStreamOver(Context context, Arguments&... arguments) : context_(std::move(context)), ws_(arguments...) {}

  void open(WsOpening opening, std::function<void(Status)> done) override {
    opening_ = std::move(opening);
    opened_ = std::move(done);
    lowest().async_connect(opening_.endpoints,
                           [self = self()](error_code ec, const net::ip::tcp::endpoint&) { self->connected(ec); });
  }

  void read(std::function<void(Result<std::string_view>)> done) override {
    incoming_.consume(incoming_.size());
    ws_.async_read(incoming_, [self = self(), done = std::move(done)](error_code ec, std::size_t) {
      if (ec) return done(fail(self->ending(ec)));
      if (!self->ws_.got_text()) return done(fail(ErrorKind::protocol, "the server sent what is no text"));
      done(std::string_view(static_cast<const char*>(self->incoming_.data().data()), self->incoming_.size()));
    });
  }

  void write(std::string text, std::function<void(Status)> done) override {
    outgoing_ = std::move(text);
    ws_.async_write(net::buffer(outgoing_), [self = self(), done = std::move(done)](error_code ec, std::size_t) {
      if (ec) return done(fail(self->ending(ec)));
      done({});
    });
  }

  void abort() override { lowest().close(); }

 private:
  std::shared_ptr<WsStreamOver> self() { return this->shared_from_this(); }
  beast::tcp_stream& lowest() { return beast::get_lowest_layer(ws_); }
  void opened(Status status) { std::exchange(opened_, nullptr)(std::move(status)); }

  void connected(const error_code& ec) {
    if (ec) return opened(fail(stream_error(ec, "cannot connect to '" + opening_.authority + "'")));
    error_code ignored;
    lowest().socket().set_option(net::ip::tcp::no_delay(true), ignored);
    const auto dead_after_ms = static_cast<unsigned>(opening_.dead_after_ms);
    ::setsockopt(lowest().socket().native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_after_ms,
                 sizeof dead_after_ms);
    if constexpr (std::is_same_v<Next, Secure>) {
      secure();
    } else {
      upgrade();
    }
  }

  void secure() requires std::is_same_v<Next, Secure> {
    SSL* ssl = ws_.next_layer().native_handle();
    error_code ec;
    net::ip::make_address(opening_.host, ec);
    // A name only (RFC 6066 3). What the macro of OpenSSL does, without its cast.
    if (ec) ::SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, opening_.host.data());
    ws_.next_layer().set_verify_callback(net::ssl::host_name_verification(opening_.host), ec);
    if (ec) return opened(fail(stream_error(ec, kOpening)));
    ws_.next_layer().async_handshake(net::ssl::stream_base::client, [self = self(), ssl](error_code failed) {
      if (failed) return self->opened(fail(tls_error(failed, ssl, self->opening_.host)));
      self->upgrade();
    });
  }

  void upgrade() {
    ws_.set_option(websocket::stream_base::decorator([this](websocket::request_type& request) {
      request.set(beast::http::field::user_agent, opening_.agent);
      request.set(beast::http::field::sec_websocket_protocol, opening_.protocol);
      if (!opening_.token.empty()) request.set(beast::http::field::authorization, "Bearer " + opening_.token);
    }));
    ws_.read_message_max(kMostMessageBytes);
    ws_.control_callback([this](websocket::frame_type, beast::string_view) {
      if (sign_) sign_();
    });
    ws_.async_handshake(response_, opening_.authority, opening_.target,
                        [self = self()](error_code ec) { self->upgraded(ec); });
  }

  void upgraded(const error_code& ec) {
    status_ = ec && ec != websocket::error::upgrade_declined ? 0 : static_cast<int>(response_.result_int());
    if (ec == websocket::error::upgrade_declined) {
      Error error = http::status_error({.status = status_, .headers = {}, .body = {}}, kOpening + 7);
      if (status_ == 404) error.kind = ErrorKind::not_found;
      return opened(fail(std::move(error)));
    }
    if (ec) return opened(fail(stream_error(ec, kOpening)));
    if (response_[beast::http::field::sec_websocket_protocol] != opening_.protocol) {
      return opened(
          fail(ErrorKind::protocol, std::string(kOpening) + ": the server does not speak " + opening_.protocol));
    }
    opened({});
  }

  Error ending(const error_code& ec) {
    if (ec != websocket::error::closed) return stream_error(ec, "the control connection broke");
    close_code_ = int{ws_.reason().code};
    return {ErrorKind::unavailable,
            "the server closed the control connection (" + std::to_string(close_code_) + ")",
            0,
            {}};
  }

  Context context_;  // outlives the stream above it
  websocket::stream<Next> ws_;
  WsOpening opening_;
  std::function<void(Status)> opened_;
  websocket::response_type response_;
  beast::flat_buffer incoming_;
  std::string outgoing_;
};

}  // namespace

Result<std::shared_ptr<WsStream>> WsStream::make(net::io_context& io, Security security, const std::string& ca_file) {
  if (security == Security::none) return std::make_shared<WsStreamOver<Plain>>(nullptr, io);
  MC_TRY_ASSIGN(Context context, client_context(ca_file));
  auto& native = *context;
  return std::make_shared<WsStreamOver<Secure>>(std::move(context), io, native);
}

}  // namespace mc::control
