#include "server/control_connection.hpp"

#include <boost/asio/post.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

namespace mc::server {
namespace {

// For a peer that does not take them.
constexpr std::size_t kMostWaiting = 256, kMostWaitingBytes = 1024 * 1024;
constexpr std::chrono::milliseconds kBetweenViews{100};
constexpr std::chrono::seconds kHandshake{30};
constexpr std::chrono::seconds kSilence{30};

namespace websocket = beast::websocket;

}  // namespace

void beast_close_socket(PeerStream& stream) {
  error_code ec;
  stream.socket().close(ec);
}

void teardown(beast::role_type, PeerStream& stream, error_code& ec) {
  stream.socket().shutdown(net::ip::tcp::socket::shutdown_send, ec);
}

ControlConnection::ControlConnection(std::shared_ptr<Connection> connection, PeerStream& stream, Shared& shared,
                                     Service::Admission admission)
    : connection_(std::move(connection)),
      shared_(shared),
      ws_(stream),
      admission_(std::move(admission)),
      view_timer_(stream.get_executor()) {
  ++shared_.metrics.control_connections;
}

ControlConnection::~ControlConnection() {
  --shared_.metrics.control_connections;
  shared_.service.sessions().board().leave(admission_.session, this);
}

std::int64_t ControlConnection::now_us() const { return shared_.service.sessions().clock().wall_ns() / 1000; }

void ControlConnection::start(const http::request<http::buffer_body>& request) {
  ws_.set_option(websocket::stream_base::timeout{kHandshake, kSilence, true});
  ws_.set_option(websocket::stream_base::decorator([](websocket::response_type& response) {
    response.set(http::field::server, "maycast");
    response.set(http::field::sec_websocket_protocol, wire::kControlProtocol);
  }));
  ws_.read_message_max(wire::kMaxControlBytes);
  ws_.next_layer().expires_never();
  ws_.async_accept(request, [self = shared_from_this()](error_code ec) {
    if (ec) return;
    self->is_open_ = true;
    // Asked to end meanwhile.
    if (self->closing_) return self->write_next();
    self->read();
  });
}

void ControlConnection::read() {
  incoming_.consume(incoming_.size());
  ws_.async_read(incoming_, [self = shared_from_this()](error_code ec, std::size_t) {
    const std::int64_t came_us = self->now_us();
    if (ec) return self->shared_.service.sessions().board().leave(self->admission_.session, self.get());
    self->on_message(came_us);
    self->read();
  });
}

void ControlConnection::on_message(std::int64_t came_us) {
  if (closing_) return;
  const auto data = incoming_.data();
  const auto message = wire::parse_control({static_cast<const char*>(data.data()), data.size()});
  if (!message || !ws_.got_text()) return refuse("bad-request", "the message is not understood");
  if (const auto* hello = std::get_if<wire::Hello>(&*message)) return take(*hello);
  if (const auto* question = std::get_if<wire::ClockQuestion>(&*message)) {
    return send(ClockReply{question->t1_us, came_us});
  }
  if (const auto* telemetry = std::get_if<wire::Telemetry>(&*message)) {
    if (guest_.empty() || telemetry->guest != guest_) {
      return refuse("not-allowed", "telemetry is told by the guest itself");
    }
    shared_.service.sessions().board().put(admission_.session, *telemetry);
  }
}

void ControlConnection::take(const wire::Hello& hello) {
  if (seated_) return refuse("bad-request", "hello is said once");
  const bool may_sit =
      hello.guest.empty() ? admission_.guest.empty() : admission_.may_be_guest || hello.guest == admission_.guest;
  if (!may_sit) return refuse("not-allowed", "the token is not for this guest");
  guest_ = hello.guest;
  seated_ = true;
  shared_.service.sessions().board().join(admission_.session, guest_, shared_from_this());
  show();
}

void ControlConnection::refuse(const char* type, std::string why) {
  const int status = std::string_view(type) == "not-allowed" ? 403 : 400;
  send(wire::format_control(wire::Problem{type, status, "the control connection is ended", std::move(why)}));
  close(Code::policy);
}

// --- sending ------------------------------------------------------------------------------------------------------

void ControlConnection::send(Outgoing message) {
  const auto* text = std::get_if<std::string>(&message);
  const std::size_t size = text == nullptr ? 0 : text->size();
  if (closing_ || queue_.size() >= kMostWaiting || queued_bytes_ + size > kMostWaitingBytes) return;
  queued_bytes_ += size;
  queue_.push_back(std::move(message));
  write_next();
}

void ControlConnection::write_next() {
  if (is_writing_ || !is_open_) return;
  if (view_ && !closing_) return write(std::move(*std::exchange(view_, std::nullopt)));
  if (queue_.empty()) {
    if (!closing_) return;
    is_writing_ = true;
    const auto code = static_cast<websocket::close_code>(static_cast<std::uint16_t>(*closing_));
    return ws_.async_close(code, [self = shared_from_this()](error_code) {});
  }
  const Outgoing next = std::move(queue_.front());
  queue_.pop_front();
  // T3 as late as can be.
  const auto* clock = std::get_if<ClockReply>(&next);
  if (clock != nullptr) return write(wire::format_control(wire::ClockAnswer{clock->t1_us, clock->t2_us, now_us()}));
  queued_bytes_ -= std::get<std::string>(next).size();
  write(std::get<std::string>(next));
}

void ControlConnection::write(std::string text) {
  writing_ = std::move(text);
  is_writing_ = true;
  ws_.text(true);
  ws_.async_write(net::buffer(writing_), [self = shared_from_this()](error_code ec, std::size_t) {
    self->is_writing_ = false;
    if (ec) return self->queue_.clear();
    self->write_next();
  });
}

void ControlConnection::close(Code code) {
  if (closing_) return;
  closing_ = code;
  shared_.service.sessions().board().leave(admission_.session, this);
  view_timer_.cancel();
  write_next();
}

void ControlConnection::stop() { close(Code::going_away); }

void ControlConnection::on_replaced() {
  net::post(ws_.get_executor(), [self = shared_from_this()] { self->close(Code::replaced); });
}

void ControlConnection::on_telemetry(const wire::Telemetry& telemetry) {
  net::post(ws_.get_executor(),
            [self = shared_from_this(), text = wire::format_control(telemetry)] { self->send(text); });
}

void ControlConnection::on_notice(Notice) {
  net::post(ws_.get_executor(), [self = shared_from_this()] { self->show(); });
}

void ControlConnection::show() {
  if (closing_) return;
  view_due_ = true;
  if (view_pending_) return;
  view_pending_ = true;
  view_timer_.expires_at(next_view_);
  view_timer_.async_wait([self = shared_from_this()](error_code ec) {
    if (ec || self->closing_) return;
    self->view_due_ = false;
    self->next_view_ = std::chrono::steady_clock::now() + kBetweenViews;
    net::post(self->shared_.workers, [self] { self->build_view(); });
  });
}

void ControlConnection::build_view() {
  auto view = shared_.service.sessions().view(admission_.session);
  std::optional<std::string> text;
  if (view && *view) {
    // A rig has no use for what others say of themselves.
    if (!guest_.empty()) {
      for (wire::GuestView& guest : (*view)->guests) guest.telemetry.reset();
    }
    text = wire::format_control(**view);
  }
  net::post(ws_.get_executor(), [self = shared_from_this(), text = std::move(text)]() mutable {
    self->view_pending_ = false;
    // The store does not answer: the client comes back, and asks again.
    if (!text) return self->close(Code::try_again);
    // In the place of one that has not gone yet: only the last counts, and it is never left out.
    self->view_ = std::move(text);
    self->write_next();
    if (self->view_due_) self->show();
  });
}

}  // namespace mc::server
