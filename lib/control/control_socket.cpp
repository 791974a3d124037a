#include "control/control_socket.hpp"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "http/answer.hpp"
#include "wire/names.hpp"

namespace mc::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint32_t kBurst = 8;  // questions for the time, at the beginning
constexpr milliseconds kBurstPause{100}, kClockPause{2'000};
constexpr std::size_t kMostAsked = 16;
constexpr milliseconds kTellPause{1'000}, kTellAtMostEvery{100};
// Answers for the time come every two seconds.
constexpr milliseconds kQuietAfter{5'000};
constexpr int kReplaced = 4000, kPolicy = 1008;
constexpr std::uint32_t kReplacedWaits = 10;  // longest waits of the backoff

}  // namespace

Result<ServerUrl> parse_server_url(const std::string& base_url) {
  const auto parsed = boost::urls::parse_uri(base_url);
  const bool is_http = parsed && (parsed->scheme() == "http" || parsed->scheme() == "https");
  if (!is_http || parsed->host_address().empty()) {
    return fail(ErrorKind::usage, "not the URL of a server: '" + base_url + "'");
  }
  ServerUrl url;
  url.security = parsed->scheme() == "https" ? Security::tls : Security::none;
  url.host = parsed->host_address();
  url.port = parsed->has_port() && !parsed->port().empty() ? std::string(parsed->port())
             : url.security == Security::tls               ? "443"
                                                           : "80";
  url.authority = std::string(parsed->encoded_host_and_port());
  url.prefix = std::string(parsed->encoded_path());
  while (url.prefix.ends_with('/')) url.prefix.pop_back();
  return url;
}

ControlSocket::ControlSocket(boost::asio::io_context& io, const ControlLinkOptions& options, ServerUrl url,
                             LinkState& state)
    : io_(io),
      options_(options),
      url_(std::move(url)),
      state_(state),
      resolver_(io, url_.host, url_.port),
      backoff_(options.backoff, http::random_fraction()),
      fraction_(http::random_fraction()),
      deadline_(io),
      clock_timer_(io),
      telemetry_timer_(io) {}

template <class Function>
auto ControlSocket::of_this_try(Function function) {
  return [this, number = try_, function = std::move(function)](auto&&... arguments) {
    if (number == try_) function(std::forward<decltype(arguments)>(arguments)...);
  };
}

template <class Function>
void ControlSocket::at(boost::asio::steady_timer& timer, Time when, Function function) {
  timer.expires_at(when);
  timer.async_wait(of_this_try([function = std::move(function)](const boost::system::error_code& ec) {
    if (!ec) function();
  }));
}

// --- opening ------------------------------------------------------------------------------------------------------

Status ControlSocket::check() const {
  MC_TRY(WsStream::make(io_, url_.security, options_.ca_file));
  return {};
}

void ControlSocket::start() {
  at(deadline_, steady_clock::now() + milliseconds(options_.connect_timeout_ms), [this] {
    ++endpoint_;
    give_up({ErrorKind::unavailable,
             "cannot open the control connection: no answer from '" + url_.authority + "' within " +
                 std::to_string((options_.connect_timeout_ms + 999) / 1000) + " s",
             0,
             {}});
  });
  resolver_.resolve(of_this_try([this](Result<Resolver::Endpoints> found) {
    if (!found) return give_up(std::move(found).error());
    open(std::move(*found));
  }));
}

void ControlSocket::open(Resolver::Endpoints endpoints) {
  auto made = WsStream::make(io_, url_.security, options_.ca_file);
  if (!made) return give_up(std::move(made).error());
  ws_ = std::move(*made);
  ws_->on_sign([this, ws = ws_.get()] {
    if (ws == ws_.get()) heard();
  });
  // One that swallows what it gets takes all the time that there is, and the next try begins with another.
  const auto first = static_cast<std::ptrdiff_t>(endpoint_ % endpoints.size());
  std::rotate(endpoints.begin(), endpoints.begin() + first, endpoints.end());
  token_ = options_.credential ? options_.credential->token() : std::string();
  WsOpening opening{.endpoints = std::move(endpoints),
                    .host = url_.host,
                    .authority = url_.authority,
                    .target = url_.prefix + wire::session_target(options_.session, "control"),
                    .protocol = wire::kControlProtocol,
                    .agent = options_.agent,
                    .token = token_,
                    .dead_after_ms = options_.silence_ms};
  ws_->open(std::move(opening), of_this_try([this](Status opened) {
              if (opened) return on_opened();
              if (ws_->status() == 401 || ws_->status() == 403) return on_refusal(std::move(opened).error());
              give_up(std::move(opened).error());
            }));
}

void ControlSocket::on_opened() {
  is_open_ = true;
  opened_at_ = steady_clock::now();
  heard();
  watch_silence();
  read();
  write_next();
}

// Because of the token, it may be: perhaps somebody has put another into its file.
void ControlSocket::on_refusal(Error error) {
  if (options_.credential && !token_.empty()) {
    if (options_.credential->other_than(token_)) return retry(options_.backoff.floor_ms, std::move(error));
    if (const auto fault = options_.credential->fault()) error.hint = fault->message;
  }
  give_up(std::move(error));
}

// --- ending -------------------------------------------------------------------------------------------------------

void ControlSocket::give_up(Error error) {
  // One that is accepted and thrown out again and again waits longer and longer.
  const milliseconds long_enough(options_.backoff.cap_ms);
  if (has_view_ && steady_clock::now() - opened_at_ >= long_enough) backoff_.reset();
  retry(backoff_.next_ms(), std::move(error));
}

void ControlSocket::on_close(Error error) {
  if (!problem_.empty()) error.message += ": " + problem_;
  if (ws_->close_code() == kReplaced) {
    const auto longest_ms = static_cast<double>(options_.backoff.cap_ms) * kReplacedWaits;
    const auto wait_ms = static_cast<std::uint32_t>(longest_ms * (0.5 + fraction_() / 2));
    error = {ErrorKind::refused, "another connection of '" + options_.guest + "' took over the control connection", 0,
             "is the agent running twice?"};
    return retry(wait_ms, std::move(error));
  }
  if (ws_->close_code() != kPolicy) return give_up(std::move(error));
  error.kind = ErrorKind::refused;
  on_refusal(std::move(error));
}

void ControlSocket::retry(std::uint32_t wait_ms, Error why) {
  ++try_;
  deadline_.cancel();
  clock_timer_.cancel();
  telemetry_timer_.cancel();
  if (ws_) ws_->abort();
  ws_.reset();
  is_open_ = is_seated_ = is_writing_ = has_view_ = false;
  question_due_ = telemetry_due_ = false;
  questions_ = 0;
  asked_us_.clear();
  problem_.clear();
  state_.stayed_offline(std::move(why));
  at(deadline_, steady_clock::now() + milliseconds(wait_ms), [this] { start(); });
}

void ControlSocket::watch_silence() {
  const Time dead_at = heard_at_ + milliseconds(options_.silence_ms);
  at(deadline_, dead_at, [this] {
    if (steady_clock::now() - heard_at_ < milliseconds(options_.silence_ms)) return watch_silence();
    give_up(
        {ErrorKind::unavailable,
         "nothing was heard on the control connection for " + std::to_string((options_.silence_ms + 999) / 1000) + " s",
         0,
         {}});
  });
}

void ControlSocket::heard() {
  heard_at_ = steady_clock::now();
  if (std::exchange(is_quiet_, false)) state_.set_quiet(false);
}

// --- hearing ------------------------------------------------------------------------------------------------------

void ControlSocket::read() {
  ws_->read(of_this_try([this](const Result<std::string_view>& message) {
    const std::int64_t came_us = monotonic_us();
    if (!message) return on_close(message.error());
    heard();
    const std::uint64_t number = try_;
    hear(*message, came_us);
    if (number == try_) read();
  }));
}

void ControlSocket::hear(std::string_view text, std::int64_t came_us) {
  auto message = wire::parse_control(text);
  if (!message) return give_up(std::move(message).error().within("the server is not understood"));
  if (auto* view = std::get_if<wire::SessionView>(&*message)) return hear_view(std::move(*view));
  if (const auto* answer = std::get_if<wire::ClockAnswer>(&*message)) return hear_time(*answer, came_us);
  if (const auto* problem = std::get_if<wire::Problem>(&*message)) problem_ = http::words_of(*problem);
}

void ControlSocket::hear_view(wire::SessionView view) {
  // The first answers our hello.
  const auto asked_us = has_view_ ? std::nullopt : std::optional(hello_us_);
  if (auto shown = state_.show(std::move(view), asked_us); !shown) return give_up(std::move(shown).error());
  if (std::exchange(has_view_, true)) return;
  state_.came_online();
}

void ControlSocket::hear_time(const wire::ClockAnswer& answer, std::int64_t came_us) {
  const auto question = std::ranges::find(asked_us_, answer.t1_us);
  if (question == asked_us_.end()) return;
  asked_us_.erase(asked_us_.begin(), question + 1);
  state_.add_sample({answer.t1_us, answer.t2_us, answer.t3_us, came_us});
}

// --- saying -------------------------------------------------------------------------------------------------------

void ControlSocket::tell() {
  if (is_seated_ && state_.telemetry_count() != told_) tell_at(told_at_ + kTellAtMostEvery);
}

void ControlSocket::tell_at(Time when) {
  at(telemetry_timer_, when, [this] {
    // The timer had gone off already when it was put off.
    if (steady_clock::now() < told_at_ + kTellAtMostEvery) return tell_at(told_at_ + kTellAtMostEvery);
    telemetry_due_ = true;
    write_next();
  });
}

void ControlSocket::ask_time() {
  if (steady_clock::now() - heard_at_ > kQuietAfter && !std::exchange(is_quiet_, true)) state_.set_quiet(true);
  question_due_ = true;
  at(clock_timer_, steady_clock::now() + (++questions_ < kBurst ? kBurstPause : kClockPause), [this] { ask_time(); });
  write_next();
}

void ControlSocket::write_next() {
  if (!is_open_ || is_writing_) return;
  if (!is_seated_) {
    is_seated_ = true;
    hello_us_ = monotonic_us();
    write(wire::format_control(wire::Hello{options_.guest, options_.agent}));
    tell_at(steady_clock::now());
    return ask_time();
  }
  if (std::exchange(question_due_, false)) {
    if (asked_us_.size() >= kMostAsked) asked_us_.pop_front();
    asked_us_.push_back(monotonic_us());
    return write(wire::format_control(wire::ClockQuestion{asked_us_.back()}));
  }
  if (!std::exchange(telemetry_due_, false)) return;
  told_ = state_.telemetry_count();
  told_at_ = steady_clock::now();
  tell_at(told_at_ + kTellPause);
  if (std::string text = telemetry_text(); !text.empty()) write(std::move(text));
}

void ControlSocket::write(std::string text) {
  is_writing_ = true;
  ws_->write(std::move(text), of_this_try([this](const Status& written) {
               is_writing_ = false;
               // Why it broke is said by the read that goes on.
               if (written) write_next();
             }));
}

// The server refuses what is too long, or no UTF-8, and would so again after each reconnect: alarms are words of
// others, and go first.
std::string ControlSocket::telemetry_text() {
  auto telemetry = state_.telemetry();
  if (options_.guest.empty() || !telemetry) return {};
  std::string text = wire::format_control(*telemetry);
  if (text.size() <= wire::kMaxControlBytes && wire::parse_control(text)) return text;
  auto& alarms = telemetry->alarms;
  std::erase_if(alarms, [](const std::string& line) { return !wire::is_utf8(line); });
  while (!alarms.empty() && (text = wire::format_control(*telemetry)).size() > wire::kMaxControlBytes) {
    alarms.pop_back();
  }
  if (!std::exchange(has_cut_alarms_, true)) {
    options_.log(LogLevel::warning, "not all alarms can be told to the server");
  }
  text = wire::format_control(*telemetry);
  return wire::parse_control(text) ? text : std::string();
}

}  // namespace mc::control
