#include "server/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/read_size.hpp>
#include <boost/beast/http/error.hpp>
#include <ctime>

#include "server/control_connection.hpp"

namespace mc::server {
namespace {

// RFC 9110 5.6.7.
std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[40];
  const std::size_t n = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, n};
}

Response bad_request(std::string detail) {
  return problem(400, "bad-request", "this is not a well-formed request", std::move(detail));
}

// A peer that vanished without a word (power, a cable) is noticed by the kernel: when it waits for us after about two
// minutes, when we wait for it to take something after one.
void notice_vanished_peer(int fd) {
  const auto set = [fd](int level, int name, int value) { (void)::setsockopt(fd, level, name, &value, sizeof value); };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 60'000);
}

template <class Fields>
std::optional<std::string> joined(const Fields& fields, std::string_view name) {
  const auto [first, last] = fields.equal_range({name.data(), name.size()});
  if (first == last) return std::nullopt;
  std::string text;
  for (auto field = first; field != last; ++field) {
    if (field != first) text += ", ";
    text.append(field->value().data(), field->value().size());
  }
  return text;
}

}  // namespace

Connection::Connection(net::ip::tcp::socket socket, Shared& shared)
    : stream_(std::move(socket), shared.tls ? shared.tls->context() : nullptr),
      shared_(shared),
      buffer_(shared.limits.header_bytes + kReadAheadBytes),
      pace_(shared.limits.stall, shared.limits.window, shared.limits.window_bytes) {
  error_code ec;
  stream_.socket().set_option(net::ip::tcp::no_delay(true), ec);
  notice_vanished_peer(stream_.socket().native_handle());
  const auto peer = stream_.socket().remote_endpoint(ec);
  if (!ec) remote_ = peer.address().to_string() + ":" + std::to_string(peer.port());
  ++shared_.metrics.open_connections;
}

Connection::~Connection() {
  --shared_.metrics.open_connections;
  const std::lock_guard lock(shared_.mutex);
  shared_.connections.erase(this);
  shared_.changed.notify_all();
}

void Connection::start() {
  idle_since_ms_ = now_ms();
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->stream_.is_over_tls()) return self->handshake();
    self->read_header();
  });
}

void Connection::refuse() {
  ++shared_.metrics.refused_connections;
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    self->started_ = std::chrono::steady_clock::now();
    self->record_.remote = self->remote_;
    self->unread_body_ = true;
    // Over TLS there is nobody to tell it to yet, and a handshake is what an attacker would want us to spend.
    if (self->stream_.is_over_tls()) return self->close();
    self->answer(problem(503, "unavailable", "too many connections"));
  });
}

void Connection::make_room() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (!self->waiting_for_header_) return;
    ++self->shared_.metrics.idle_connections_closed;
    self->close();
  });
}

std::int64_t Connection::now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Connection::stop() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->waiting_for_header_) self->close();
    if (const auto control = self->control_.lock()) control->stop();
  });
}

void Connection::abort() {
  net::post(stream_.get_executor(), [self = shared_from_this()] { self->close(); });
}

std::optional<Response> Connection::parse_failure(error_code ec) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
    return problem(431, "header-too-large", "the header is too large");
  }
  if (ec == http::error::body_limit) {
    return problem(413, "too-large", "the file is too large", "at most " + std::to_string(kMaxFileBytes) + " bytes");
  }
  const bool is_over = ec == http::error::end_of_stream || ec == http::error::partial_message;
  if (is_over || ec.category() != make_error_code(http::error::bad_method).category()) return std::nullopt;
  return bad_request(ec.message());
}

void Connection::handshake() {
  if (shared_.stopping) return close();
  waiting_for_header_ = true;
  stream_.expires_after(shared_.limits.idle);
  stream_.async_handshake([self = shared_from_this()](error_code ec) {
    self->waiting_for_header_ = false;
    if (!ec) return self->read_header();
    ++self->shared_.metrics.failed_handshakes;
    if (!is_plain_http(ec)) return self->close();
    self->stream_.give_up_tls();
    self->started_ = std::chrono::steady_clock::now();
    self->record_.remote = self->remote_;
    self->idle_since_ms_ = kBusy;
    self->unread_body_ = true;
    self->answer(bad_request("this port speaks TLS: the URL begins with https://"));
  });
}

void Connection::read_header() {
  if (shared_.stopping) return close();
  parser_.emplace();
  parser_->header_limit(shared_.limits.header_bytes);
  parser_->body_limit(kMaxFileBytes);
  body_left_.reset();
  unread_body_ = false;
  keep_alive_ = false;
  record_ = {};
  record_.remote = remote_;
  waiting_for_header_ = true;
  idle_since_ms_ = now_ms();
  header_bytes_ = 0;
  // One deadline for the whole header, however slowly it trickles in.
  stream_.expires_after(shared_.limits.idle);
  parse_header();
}

// Beast's own limit holds for what one call of the parser sees: a header whose fields end where reads end is never too
// large for it (Boost 1.81). So what was read is counted here.
void Connection::parse_header() {
  if (buffer_.size() > 0) {
    error_code ec;
    const std::size_t n = parser_->put(buffer_.data(), ec);
    buffer_.consume(n);
    header_bytes_ += n;
    if (ec && ec != http::error::need_more) return on_header(ec);
    const bool is_whole = parser_->is_header_done();
    const std::size_t known = header_bytes_ + (is_whole ? 0 : buffer_.size());  // behind a whole one is the body
    if (known > shared_.limits.header_bytes) return on_header(http::error::header_limit);
    if (is_whole) return on_header({});
  }
  const auto into = buffer_.prepare(beast::read_size(buffer_, kReadAheadBytes));
  stream_.async_read_some(into, [self = shared_from_this()](error_code ec, std::size_t n) {
    self->buffer_.commit(n);
    if (ec) return self->on_header(ec);
    self->parse_header();
  });
}

void Connection::on_header(error_code ec) {
  waiting_for_header_ = false;
  idle_since_ms_ = kBusy;
  started_ = std::chrono::steady_clock::now();
  if (ec) {
    auto response = parse_failure(ec);
    if (!response) return close();
    unread_body_ = true;
    return answer(std::move(*response));
  }
  take_request();
  if (auto refused = check_framing()) {
    unread_body_ = true;
    return answer(std::move(*refused));
  }
  keep_alive_ = parser_->get().version() == 11 && parser_->keep_alive();
  dispatch();
}

void Connection::take_request() {
  const auto& message = parser_->get();
  request_ = {};
  request_.method = std::string(message.method_string());
  request_.target = std::string(message.target());
  request_.remote = remote_;
  RequestHeaders& headers = request_.headers;
  headers.authorization = joined(message, "Authorization");
  headers.recording = joined(message, wire::kRecordingHeader);
  headers.repr_digest = joined(message, wire::kReprDigestHeader);
  headers.content_digest = joined(message, wire::kContentDigestHeader);
  headers.content_encoding = joined(message, "Content-Encoding");
  headers.content_range = joined(message, "Content-Range");
  headers.range = joined(message, "Range");
  headers.if_range = joined(message, "If-Range");
  headers.if_none_match = joined(message, "If-None-Match");
  headers.content_type = joined(message, "Content-Type");
  headers.upload_offset = joined(message, wire::kUploadOffsetHeader);
  headers.upload_complete = joined(message, wire::kUploadCompleteHeader);
  headers.idempotency_key = joined(message, wire::kIdempotencyHeader);
  headers.upgrade = joined(message, "Upgrade");
  record_.method = request_.method;
  record_.target = request_.target;
}

// Where two parsers could see two different ends of one request, there is no request (RFC 9112 6.1, 6.3). Beast itself
// refuses Content-Length together with chunked; it does take a length twice, and reads an unknown transfer coding as
// "no body".
std::optional<Response> Connection::check_framing() const {
  const auto& message = parser_->get();
  const auto coding = joined(message, "Transfer-Encoding");
  if (coding && (!beast::iequals(*coding, "chunked") || message.count(http::field::content_length) > 0 ||
                 message.version() != 11)) {
    return bad_request("Transfer-Encoding must be 'chunked', in HTTP/1.1, and without Content-Length");
  }
  // Beast takes "4, 4" for 4.
  const auto length = joined(message, "Content-Length");
  if (length && length->find_first_not_of("0123456789") != std::string::npos) {
    return bad_request("Content-Length must be one number, given once");
  }
  if (message.version() == 11 && message.count(http::field::host) != 1) return bad_request("one Host is required");
  if (const auto expect = joined(message, "Expect"); expect && !beast::iequals(*expect, "100-continue")) {
    return problem(417, "expectation", "this expectation is not understood");
  }
  return std::nullopt;
}

bool Connection::expects_continue() const {
  return parser_->get().version() == 11 && parser_->get().count(http::field::expect) > 0 && !parser_->is_done() &&
         buffer_.size() == 0;
}

void Connection::dispatch() {
  if (request_.method == "PUT" || request_.method == "PATCH") return begin_upload();
  if (is_command(request_)) return begin_command();
  if (is_control(request_)) return begin_control();
  const bool is_joined = std::holds_alternative<JoinedRoute>(parse_route(request_.target));
  auto& pool = is_joined                    ? shared_.joiners
               : is_long_job(request_)      ? shared_.auditors
               : waits_for_upload(request_) ? shared_.resumers
                                            : shared_.workers;
  work(
      pool, [this] { return shared_.service.handle(request_); },
      [this](Response response) { answer_after_drain(std::move(response)); });
}

void Connection::begin_control() {
  const auto begin = [this](std::variant<Response, Service::Admission> admitted) {
    if (auto* refused = std::get_if<Response>(&admitted)) return answer_after_drain(std::move(*refused));
    // What came behind the request before it was answered is nothing that a WebSocket client sends.
    if (shared_.stopping || buffer_.size() > 0 || !parser_->is_done()) return give_up();
    record_.status = 101;
    note_request();
    auto control = std::make_shared<ControlConnection>(shared_from_this(), stream_, shared_,
                                                       std::get<Service::Admission>(std::move(admitted)));
    control_ = control;
    control->start(parser_->get());
  };
  work(
      shared_.workers, [this] { return shared_.service.admit_control(request_); }, begin);
}

void Connection::answer(Response response) {
  const bool head_only = request_.method == "HEAD";
  const bool closes = unread_body_ || !keep_alive_ || shared_.stopping;
  keep_alive_ = !closes;
  record_.status = response.status;
  object_ = std::move(response.object);
  const std::uint64_t length = object_ ? object_->length : response.body.size();

  out_ = "HTTP/1.1 " + std::to_string(response.status) + " " + reason_phrase(response.status) +
         "\r\nDate: " + http_date() + "\r\nServer: maycast\r\n";
  for (const auto& [name, value] : response.headers) out_ += name + ": " + value + "\r\n";
  if (response.status != 304 && response.status != 204) out_ += "Content-Length: " + std::to_string(length) + "\r\n";
  if (closes) out_ += "Connection: close\r\n";
  out_ += "\r\n";
  if (head_only) {
    object_.reset();
  } else {
    record_.sent_bytes = length;
    out_ += response.body;
  }
  pace_.begin();
  write_out(0, [self = shared_from_this()] { self->send_object(); });
}

// Piece by piece, so that the deadline is for progress and not for the whole of a large answer.
void Connection::write_out(std::size_t done, Next then) {
  if (done == out_.size()) {
    out_.clear();
    return then();
  }
  stream_.expires_after(pace_.may_wait(std::chrono::steady_clock::now()));
  stream_.async_write_some(
      net::buffer(out_.data() + done, out_.size() - done),
      [self = shared_from_this(), done, then = std::move(then)](error_code ec, std::size_t n) mutable {
        if (ec) return self->give_up();
        self->pace_.moved(n, std::chrono::steady_clock::now());
        self->write_out(done + n, std::move(then));
      });
}

void Connection::send_object() {
  if (!object_ || object_->length == 0) return finish_request();
  const auto read = [this] {
    ObjectBody& object = *object_;
    out_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, object.length)));
    const auto n = object.object->read_at(object.first, {reinterpret_cast<std::uint8_t*>(out_.data()), out_.size()});
    object.first += out_.size();
    object.length -= out_.size();
    return n && *n == out_.size();
  };
  work(shared_.workers, read, [this](bool is_whole) {
    // Shorter than announced: all that can be said now is a connection that breaks.
    if (!is_whole) return give_up();
    write_out(0, [self = shared_from_this()] { self->send_object(); });
  });
}

void Connection::finish_request() {
  object_.reset();
  note_request();
  if (keep_alive_) return read_header();
  linger();
}

void Connection::give_up() {
  object_.reset();
  record_.status = 0;
  note_request();
  close();
}

void Connection::note_request() {
  if (record_.status != 0) shared_.metrics.count_request(record_.status);
  shared_.metrics.sent_bytes += record_.sent_bytes;
  const auto elapsed =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started_);
  if (record_.status == 201) shared_.metrics.count_put(elapsed);
  if (shared_.access_log == nullptr) return;
  record_.duration_us = elapsed.count();
  shared_.access_log->add(record_);
}

// Closing a socket with unread bytes in it resets the connection, and the reset can overtake our answer: so we say that
// we are done and read on for a moment (RFC 9112 9.6). Over TLS the peer is told so twice (RFC 8446 6.1).
void Connection::linger() {
  linger_until_ = std::chrono::steady_clock::now() + shared_.limits.linger;
  if (!stream_.is_over_tls()) return end_sending();
  stream_.expires_at(linger_until_);
  stream_.async_shutdown([self = shared_from_this()](error_code) {
    self->stream_.give_up_tls();
    self->end_sending();
  });
}

void Connection::end_sending() {
  error_code ec;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, ec);
  if (ec) return close();
  buffer_.clear();
  read_rest();
}

void Connection::read_rest() {
  stream_.expires_at(linger_until_);
  stream_.async_read_some(buffer_.prepare(kDrainPieceBytes), [self = shared_from_this()](error_code ec, std::size_t) {
    if (ec || std::chrono::steady_clock::now() >= self->linger_until_) return self->close();
    self->read_rest();
  });
}

void Connection::work_ended() {
  is_working_ = false;
  if (close_wanted_) close();
}

// The number of a closed socket may be another's the next moment, so one that a worker reads from only falls silent.
void Connection::close() {
  error_code ec;
  if (is_working_) {
    close_wanted_ = true;
    stream_.socket().shutdown(net::ip::tcp::socket::shutdown_both, ec);
    return;
  }
  stream_.socket().close(ec);
}

}  // namespace mc::server
