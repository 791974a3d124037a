// A WebSocket (RFC 6455) from its client's side, over TCP or over TLS: Beast and OpenSSL stay behind this header, and
// so does the translation of their errors. Private to control_socket.
//
//   MC_TRY_ASSIGN(const auto ws, WsStream::make(io, Security::tls, ca_file));   // for one connection
//   ws->open(opening, [](Status opened) { … });    // connect, TLS, upgrade
//   ws->read([](Result<std::string_view> message) { … });      // again after each message; pings are answered within
//   ws->write(text, [](Status written) { … });                 // one at a time
//   ws->abort();                                               // everything ends with an error, soon
//
// All on the thread of the io_context. An operation holds the stream until its handler was called, so that its owner
// may drop it at any time. There are no deadlines in here.
//
// Error kinds: those of ControlLink (control_link.hpp). A close frame is unavailable, and close_code() tells.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace mc::control {

enum class Security : std::uint8_t { none, tls };

struct WsOpening {
  std::vector<boost::asio::ip::tcp::endpoint> endpoints;  // tried in this order
  std::string host;                                       // that the certificate must be for
  std::string authority;                                  // Host
  std::string target, protocol, agent;
  std::string token;                // empty: none is sent
  std::uint32_t dead_after_ms = 0;  // what was sent and not acknowledged for so long ends the connection (tcp(7))
};

class WsStream {
 public:
  // Kind config: the CA file.
  static Result<std::shared_ptr<WsStream>> make(boost::asio::io_context& io, Security security,
                                                const std::string& ca_file);
  virtual ~WsStream() = default;

  virtual void open(WsOpening opening, std::function<void(Status)> done) = 0;
  virtual void read(std::function<void(Result<std::string_view>)> done) = 0;  // the text is good until the next read
  virtual void write(std::string text, std::function<void(Status)> done) = 0;
  virtual void abort() = 0;

  int status() const { return status_; }          // of the answer to the upgrade; 0: there was none
  int close_code() const { return close_code_; }  // RFC 6455 7.4; 0: the connection ended without
  // Called for each control frame that comes.
  void on_sign(std::function<void()> sign) { sign_ = std::move(sign); }

 protected:
  int status_ = 0, close_code_ = 0;
  std::function<void()> sign_;
};

}  // namespace mc::control
