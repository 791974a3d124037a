// The control connection itself (mc-session(7)), kept up: connects, says hello, asks for the time, sends telemetry,
// hears views, and begins again when it ends. Private to control_link.
//
// Everything here runs on the one thread of the io_context, and all its operations are abandoned, not waited for, when
// that is stopped. Each try has a number; what an operation of an earlier try brings is left alone. One write at a
// time: what is to be sent next is decided when the one before has gone, so that a question for the time leaves with
// the time that it left, and telemetry is the newest.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <string>

#include "control/link_state.hpp"
#include "control/resolver.hpp"
#include "control/ws_stream.hpp"
#include "wire/control.hpp"

namespace mc::control {

struct ServerUrl {
  Security security = Security::none;
  std::string host, port;  // without the brackets of an IPv6 address
  std::string authority;   // as it stands in the URL
  std::string prefix;      // of the paths; empty, or "/…" without a slash at its end
};
Result<ServerUrl> parse_server_url(const std::string& base_url);  // kind: usage

class ControlSocket {
 public:
  // All are borrowed, and outlive it.
  ControlSocket(boost::asio::io_context& io, const ControlLinkOptions& options, ServerUrl url, LinkState& state);

  Status check() const;  // can it be at all? Kind: config
  void start();
  void tell();                // the telemetry is another one
  void give_up(Error error);  // this try; the next one comes after a while

 private:
  using Time = std::chrono::steady_clock::time_point;
  template <class Function>
  auto of_this_try(Function function);
  template <class Function>
  void at(boost::asio::steady_timer& timer, Time when, Function function);

  void open(Resolver::Endpoints endpoints);
  void on_opened();
  void read();
  void hear(std::string_view message, std::int64_t came_us);
  void hear_view(wire::SessionView view);
  void hear_time(const wire::ClockAnswer& answer, std::int64_t came_us);
  void on_refusal(Error error);
  void on_close(Error error);
  void retry(std::uint32_t wait_ms, Error why);
  void watch_silence();
  void heard();
  void ask_time();
  void tell_at(Time when);
  void write_next();
  void write(std::string text);
  std::string telemetry_text();

  boost::asio::io_context& io_;
  const ControlLinkOptions& options_;
  const ServerUrl url_;
  LinkState& state_;
  Resolver resolver_;
  http::Backoff backoff_;
  const http::Fraction fraction_;
  boost::asio::steady_timer deadline_;  // of opening, then of silence; between two tries of the next one
  boost::asio::steady_timer clock_timer_, telemetry_timer_;

  std::uint64_t try_ = 0;
  std::size_t endpoint_ = 0;  // the one to begin with: the one that the last connect did not fail with
  std::shared_ptr<WsStream> ws_;
  std::string token_;  // that was sent

  // Of the connection that is open.
  bool is_open_ = false, is_seated_ = false, is_writing_ = false;  // the upgrade was answered; hello was said
  bool has_view_ = false, is_quiet_ = false;
  Time opened_at_{}, heard_at_{}, told_at_{};
  std::int64_t hello_us_ = 0;
  bool question_due_ = false, telemetry_due_ = false;
  std::uint32_t questions_ = 0;
  std::deque<std::int64_t> asked_us_;  // and not answered yet
  std::uint64_t told_ = 0;             // telemetry_count() of what was sent
  std::string problem_;                // the server's words before it closes
  bool has_cut_alarms_ = false;        // ever
};

}  // namespace mc::control
