// The control connection of a session (mc-session(7)): a WebSocket (RFC 6455) on the connection that asked for it.
// Private to the network side of this module.
//
// One operation at a time in each direction, on the strand of its connection; the store is asked on a worker. What is
// to be sent waits in a queue that is bounded: of views only the last counts, telemetry that a slow reader does not
// take is dropped. It holds its Connection, and so lives as long as an operation does.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "server/connection.hpp"

namespace mc::server {

// What websocket::stream wants of a stream that is not one of Beast's own: how to end it, and how to break it off.
void beast_close_socket(PeerStream& stream);
void teardown(beast::role_type role, PeerStream& stream, error_code& ec);
// Reads and forgets until the peer has ended its side too.
template <class Handler>
struct DiscardRest {
  PeerStream& stream;
  Handler handler;
  std::unique_ptr<std::array<std::uint8_t, 4096>> piece = std::make_unique<std::array<std::uint8_t, 4096>>();

  void operator()(error_code ec, std::size_t) {
    if (ec) return handler(ec == net::error::eof ? error_code{} : ec);
    const auto into = net::buffer(*piece);
    stream.async_read_some(into, std::move(*this));
  }
};
// Our end is said; what still comes is taken first, for a reset would overtake the close frame that says why. The
// websocket stream's timeout bounds it.
template <class Handler>
void async_teardown(beast::role_type role, PeerStream& stream, Handler&& handler) {
  error_code ec;
  teardown(role, stream, ec);
  net::post(stream.get_executor(),
            [discard = DiscardRest<std::decay_t<Handler>>{stream, std::forward<Handler>(handler)}, ec]() mutable {
              discard(ec, 0);
            });
}

class ControlConnection final : public SessionSubscriber, public std::enable_shared_from_this<ControlConnection> {
 public:
  ControlConnection(std::shared_ptr<Connection> connection, PeerStream& stream, Shared& shared,
                    Service::Admission admission);
  ~ControlConnection() override;

  // Takes over the stream; `request` is the one that asked for it.
  void start(const http::request<http::buffer_body>& request);
  void stop();  // on the strand: a close frame, and then the end

  // From any thread.
  void on_notice(Notice notice) override;
  void on_telemetry(const wire::Telemetry& telemetry) override;
  void on_replaced() override;

 private:
  struct ClockReply {
    std::int64_t t1_us, t2_us;
  };
  using Outgoing = std::variant<std::string, ClockReply>;
  // Why it is ended, as RFC 6455 7.4 has it; 4000 and up are ours.
  enum class Code : std::uint16_t { going_away = 1001, policy = 1008, try_again = 1013, replaced = 4000 };

  void read();
  void on_message(std::int64_t came_us);
  void take(const wire::Hello& hello);
  void refuse(const char* type, std::string why);
  void send(Outgoing message);
  void write_next();
  void write(std::string text);
  void show();        // the view, soon: at most ten times a second
  void build_view();  // on a worker
  void close(Code code);
  std::int64_t now_us() const;

  std::shared_ptr<Connection> connection_;
  Shared& shared_;
  beast::websocket::stream<PeerStream&> ws_;
  beast::flat_buffer incoming_;
  std::deque<Outgoing> queue_;
  std::size_t queued_bytes_ = 0;     // of the texts in it
  std::optional<std::string> view_;  // to be sent, before the queue
  std::string writing_;
  bool is_open_ = false;  // the upgrade was answered
  bool is_writing_ = false;
  std::optional<Code> closing_;

  const Service::Admission admission_;
  std::string guest_;    // who sits here; empty: one who looks on
  bool seated_ = false;  // hello has come
  bool view_due_ = false;
  bool view_pending_ = false;  // a worker is at it, or the timer runs
  std::chrono::steady_clock::time_point next_view_{};
  net::steady_timer view_timer_;
};

}  // namespace mc::server
