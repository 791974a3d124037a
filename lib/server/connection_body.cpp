// The bodies of requests: into an upload, or read past.
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>

#include "server/connection.hpp"

namespace mc::server {

void Connection::begin_upload() {
  using Begun = std::variant<Response, std::optional<Response>>;  // refused, or begun and perhaps already stored
  const bool waits = expects_continue();
  const auto begin = [this, waits]() -> Begun {
    auto begun = shared_.service.begin_upload(request_, interrupt());
    if (auto* refused = std::get_if<Response>(&begun)) return std::move(*refused);
    upload_ = std::get<std::unique_ptr<Upload>>(std::move(begun));
    prepare_piece();
    return waits ? std::nullopt : feed_upload();
  };
  work(upload_pool(), begin, [this, waits](Begun begun) {
    if (auto* refused = std::get_if<Response>(&begun)) return refuse_upload(std::move(*refused));
    if (waits) return send_continue();
    pace_.begin();
    on_stored(std::get<std::optional<Response>>(std::move(begun)));
  });
}

// Somebody wants the upload parked, so that another connection can go on with it.
PartialUploads::Interrupt Connection::interrupt() {
  return [weak = weak_from_this()] {
    if (const auto fed = weak.lock()) fed->abort();
  };
}

void Connection::refuse_upload(Response response) {
  // A rest that has no place: reading it on a slow link would cost more than a new connection.
  if (request_.method == "PATCH" && response.status == 409) {
    unread_body_ = !body_is_done();
    return answer(std::move(response));
  }
  answer_after_drain(std::move(response));
}

// The body is small, and is read as a whole into the one piece there is.
void Connection::begin_command() {
  const auto length = parser_->content_length();
  if (length && *length > wire::kMaxControlBytes) {
    unread_body_ = true;
    return answer(problem(413, "too-large", "the body is too large"));
  }
  is_command_ = true;
  if (expects_continue()) return send_continue();
  prepare_body();
}

void Connection::run_command() {
  is_command_ = false;
  if (!body_is_done()) {
    unread_body_ = true;
    return answer(problem(413, "too-large", "the body is too large"));
  }
  const auto run = [this] {
    return shared_.service.command(request_, {reinterpret_cast<const char*>(piece_.get()), filled_});
  };
  work(shared_.workers, run, [this](Response response) {
    piece_.reset();
    answer(std::move(response));
  });
}

void Connection::send_continue() {
  out_ = "HTTP/1.1 100 Continue\r\n\r\n";
  pace_.begin();
  write_out(0, [self = shared_from_this()] { self->prepare_body(); });
}

// By whoever has the connection, a worker or the strand.
void Connection::prepare_piece() {
  piece_size_ = is_command_ ? wire::kMaxControlBytes : kPieceBytes;
  if (const auto length = parser_->content_length(); length && *length < piece_size_) {
    piece_size_ = static_cast<std::size_t>(*length);
  }
  piece_.reset(new std::uint8_t[piece_size_ + 1]);  // never empty, and not zeroed
  filled_ = 0;
  if (const auto left = parser_->content_length_remaining(); left && !parser_->chunked()) body_left_ = *left;
}

void Connection::prepare_body() {
  if (!piece_) prepare_piece();
  pace_.begin();
  read_body();
}

void Connection::read_body() {
  if (body_is_done() || (piece_size_ > 0 && filled_ == piece_size_)) return store_piece();
  if (body_left_) return read_plain_body();
  if (buffer_.capacity() < kReadAheadBytes) buffer_.reserve(kReadAheadBytes);
  auto& body = parser_->get().body();
  body.data = piece_.get() + filled_;
  body.size = piece_size_ - filled_;
  body.more = true;
  stream_.expires_after(pace_.may_wait(std::chrono::steady_clock::now()));
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](error_code ec, std::size_t) { self->on_body(ec); });
}

std::size_t Connection::room() const {
  return static_cast<std::size_t>(std::min<std::uint64_t>(piece_size_ - filled_, *body_left_));
}

void Connection::took(std::size_t n) {
  filled_ += n;
  *body_left_ -= n;
  record_.received_bytes += n;
  shared_.metrics.received_bytes += n;
}

// What Beast had read behind the header.
bool Connection::take_buffered() {
  if (buffer_.size() == 0) return false;
  const std::size_t n = net::buffer_copy(net::buffer(piece_.get() + filled_, room()), buffer_.data());
  buffer_.consume(n);
  took(n);
  return n > 0;
}

// On a worker: what the kernel has. False when that is nothing; an end or an error is the strand's to find.
bool Connection::take_arrived() {
  if (!body_left_ || room() == 0) return false;
  if (take_buffered()) return true;
  if (stream_.is_over_tls()) return false;
  const ssize_t n =
      ::recv(stream_.socket().native_handle(), piece_.get() + filled_, room(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n <= 0) return false;
  took(static_cast<std::size_t>(n));
  pace_.arrived(static_cast<std::size_t>(n));
  return true;
}

void Connection::read_plain_body() {
  if (take_buffered()) return read_body();
  stream_.expires_after(pace_.may_wait(std::chrono::steady_clock::now()));
  stream_.async_read_some(net::buffer(piece_.get() + filled_, room()),
                          [self = shared_from_this()](error_code ec, std::size_t n) {
                            self->took(n);
                            self->pace_.moved(n, std::chrono::steady_clock::now());
                            if (ec) return self->on_broken_body(ec);
                            self->read_body();
                          });
}

void Connection::on_body(error_code ec) {
  if (ec == http::error::need_buffer) ec = {};
  const std::size_t before = filled_;
  filled_ = piece_size_ - parser_->get().body().size;
  record_.received_bytes += filled_ - before;
  shared_.metrics.received_bytes += filled_ - before;
  if (ec) return on_broken_body(ec);
  pace_.moved(filled_ - before, std::chrono::steady_clock::now());
  read_body();
}

void Connection::on_broken_body(error_code ec) {
  pending_ = parse_failure(ec);
  is_command_ = false;
  if (!pending_ && !upload_) return give_up();
  if (!pending_) return park_upload();
  drop_upload([self = shared_from_this()] {
    self->unread_body_ = true;
    Response response = std::move(*self->pending_);
    self->pending_.reset();
    self->answer(std::move(response));
  });
}

// On a worker: writes the piece, and goes on as long as more has arrived. The answer, when there is one.
std::optional<Response> Connection::feed_upload() {
  for (std::size_t written = 0;;) {
    while (take_arrived()) {
    }
    if (!body_is_done() && (filled_ < kWorthWriting || written >= kMaxJobBytes)) return std::nullopt;
    if (auto failed = upload_->write({piece_.get(), filled_})) return failed;
    written += filled_;
    filled_ = 0;
    if (body_is_done()) return upload_->finish();
  }
}

void Connection::store_piece() {
  if (is_command_) return run_command();
  work(
      upload_pool(), [this] { return feed_upload(); },
      [this](std::optional<Response> response) { on_stored(std::move(response)); });
}

void Connection::on_stored(std::optional<Response> response) {
  if (!response) return read_body();
  upload_.reset();  // its stage is gone or published by now: nothing blocks here
  piece_.reset();
  answer_after_drain(std::move(*response));
}

// The connection broke in the middle: what came is kept for a while, so that the client need not send it again.
void Connection::park_upload() {
  const auto park = [this] {
    upload_->park({piece_.get(), filled_});
    upload_.reset();
    return true;
  };
  work(shared_.workers, park, [this](bool) { give_up(); });
}

// Removing a stage is the store's work.
void Connection::drop_upload(Next then) {
  const auto drop = [this] {
    upload_.reset();
    return true;
  };
  work(shared_.workers, drop, [then = std::move(then)](bool) { then(); });
}

// A small rest of a body is read so that the connection can go on. A peer that waits for 100 Continue may send its body
// or not after our answer; after that nobody knows where the next request begins, so the connection ends.
void Connection::answer_after_drain(Response response) {
  if (body_is_done()) return answer(std::move(response));
  const auto left = body_left_ ? boost::optional<std::uint64_t>(*body_left_) : parser_->content_length_remaining();
  if (expects_continue() || (left && *left > kMaxDrainBytes)) {
    unread_body_ = true;
    return answer(std::move(response));
  }
  pending_ = std::move(response);
  piece_size_ = kDrainPieceBytes;
  piece_.reset(new std::uint8_t[piece_size_]);
  pace_.begin();
  drain(kMaxDrainBytes);
}

void Connection::drain(std::size_t left) {
  if (body_is_done() || left == 0) {
    unread_body_ = !body_is_done();
    piece_.reset();
    Response response = std::move(*pending_);
    pending_.reset();
    return answer(std::move(response));
  }
  if (body_left_) return drain_plain_body(left);
  auto& body = parser_->get().body();
  body.data = piece_.get();
  body.size = piece_size_;
  body.more = true;
  stream_.expires_after(pace_.may_wait(std::chrono::steady_clock::now()));
  http::async_read_some(stream_, buffer_, *parser_, [self = shared_from_this(), left](error_code ec, std::size_t) {
    if (ec == http::error::need_buffer) ec = {};
    if (ec && !parse_failure(ec)) return self->give_up();
    const std::size_t n = self->piece_size_ - self->parser_->get().body().size;
    self->pace_.moved(n, std::chrono::steady_clock::now());
    self->drain(ec || n > left ? 0 : left - n);
  });
}

void Connection::drain_plain_body(std::size_t left) {
  if (buffer_.size() > 0) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), *body_left_));
    buffer_.consume(n);
    *body_left_ -= n;
    if (n > 0) return drain(left - std::min(left, n));
  }
  stream_.expires_after(pace_.may_wait(std::chrono::steady_clock::now()));
  stream_.async_read_some(
      net::buffer(piece_.get(), static_cast<std::size_t>(std::min<std::uint64_t>(piece_size_, *body_left_))),
      [self = shared_from_this(), left](error_code ec, std::size_t n) {
        if (ec) return self->give_up();
        *self->body_left_ -= n;
        self->pace_.moved(n, std::chrono::steady_clock::now());
        self->drain(left - std::min(left, n));
      });
}

}  // namespace mc::server
