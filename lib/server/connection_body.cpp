// The bodies of requests: into an upload, or read past.
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>

#include "server/connection.hpp"

namespace mc::server {

// A small body is mostly there when its header is. Then beginning, writing and publishing are one job, for threads that
// wake each other cost more than such a body does. One that is still on its way begins its upload first, so that others
// can find it and go on with it should it break.
bool Connection::is_small_and_here() {
  const auto length = parser_->content_length();
  if (request_.method != "PUT" || !length || *length > kSmallBodyBytes) return false;
  error_code ec;
  return buffer_.size() + stream_.socket().available(ec) >= *length;
}

void Connection::begin_upload() {
  stores_whole_ = false;
  stream_.expires_never();
  work(shared_.workers, [self = shared_from_this()] {
    auto begun = std::make_shared<std::variant<Response, std::unique_ptr<Upload>>>(
        self->shared_.service.begin_upload(self->request_, self->interrupt()));
    net::post(self->stream_.get_executor(), [self, begun] {
      if (auto* refused = std::get_if<Response>(begun.get())) return self->refuse_upload(std::move(*refused));
      self->upload_ = std::get<std::unique_ptr<Upload>>(std::move(*begun));
      if (self->piece_) return self->read_body();  // a part of it is there already
      if (self->expects_continue()) return self->send_continue();
      self->prepare_body();
    });
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

void Connection::store_whole() {
  stores_whole_ = false;
  stream_.expires_never();
  work(is_long_job(request_) ? shared_.auditors : shared_.workers, [self = shared_from_this()] {
    auto response = std::make_shared<Response>();
    {
      auto begun = self->shared_.service.begin_upload(self->request_, self->interrupt());
      if (auto* refused = std::get_if<Response>(&begun)) {
        *response = std::move(*refused);
      } else {
        Upload& upload = *std::get<std::unique_ptr<Upload>>(begun);
        auto failed = upload.write({self->piece_.get(), self->filled_});
        *response = failed ? std::move(*failed) : upload.finish();
      }
    }
    net::post(self->stream_.get_executor(), [self, response] {
      self->piece_.reset();
      self->answer(std::move(*response));
    });
  });
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
  stream_.expires_never();
  work(shared_.workers, [self = shared_from_this()] {
    const std::string_view body(reinterpret_cast<const char*>(self->piece_.get()), self->filled_);
    auto response = std::make_shared<Response>(self->shared_.service.command(self->request_, body));
    net::post(self->stream_.get_executor(), [self, response] {
      self->piece_.reset();
      self->answer(std::move(*response));
    });
  });
}

void Connection::send_continue() {
  out_ = "HTTP/1.1 100 Continue\r\n\r\n";
  pace_.begin();
  write_out(0, [self = shared_from_this()] { self->prepare_body(); });
}

void Connection::prepare_body() {
  piece_size_ = is_command_ ? wire::kMaxControlBytes : kPieceBytes;
  if (const auto length = parser_->content_length(); length && *length < piece_size_) {
    piece_size_ = static_cast<std::size_t>(*length);
  }
  piece_.reset(new std::uint8_t[piece_size_ + 1]);  // never empty, and not zeroed
  filled_ = 0;
  if (const auto left = parser_->content_length_remaining(); left && !parser_->chunked()) body_left_ = *left;
  if (!body_left_ && !parser_->is_done()) buffer_.reserve(kReadAheadBytes);
  pace_.begin();
  read_body();
}

void Connection::read_body() {
  if (stores_whole_ && body_is_done()) return store_whole();
  if (body_is_done() || (piece_size_ > 0 && filled_ == piece_size_)) return store_piece();
  if (body_left_) return read_plain_body();
  auto& body = parser_->get().body();
  body.data = piece_.get() + filled_;
  body.size = piece_size_ - filled_;
  body.more = true;
  stream_.expires_after(pace_.may_wait(std::chrono::steady_clock::now()));
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](error_code ec, std::size_t) { self->on_body(ec); });
}

void Connection::read_plain_body() {
  const auto took = [this](std::size_t n) {
    filled_ += n;
    *body_left_ -= n;
    record_.received_bytes += n;
    shared_.metrics.received_bytes += n;
  };
  const auto room = [this] {
    return static_cast<std::size_t>(std::min<std::uint64_t>(piece_size_ - filled_, *body_left_));
  };
  if (buffer_.size() > 0) {
    const std::size_t n = net::buffer_copy(net::buffer(piece_.get() + filled_, room()), buffer_.data());
    buffer_.consume(n);
    took(n);
    return read_body();
  }
  stream_.expires_after(pace_.may_wait(std::chrono::steady_clock::now()));
  stream_.async_read_some(net::buffer(piece_.get() + filled_, room()),
                          [self = shared_from_this(), took](error_code ec, std::size_t n) {
                            took(n);
                            self->pace_.moved(n, std::chrono::steady_clock::now());
                            if (ec) return self->on_broken_body(ec);
                            if (self->stores_whole_ && *self->body_left_ > 0) return self->begin_upload();
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

void Connection::store_piece() {
  if (is_command_) return run_command();
  stream_.expires_never();
  const bool is_last = body_is_done();
  auto& pool = is_last && is_long_job(request_) ? shared_.auditors : shared_.workers;
  work(pool, [self = shared_from_this(), is_last] {
    auto response =
        std::make_shared<std::optional<Response>>(self->upload_->write({self->piece_.get(), self->filled_}));
    if (!*response && is_last) *response = self->upload_->finish();
    net::post(self->stream_.get_executor(), [self, response] { self->on_stored(std::move(*response)); });
  });
}

void Connection::on_stored(std::optional<Response> response) {
  filled_ = 0;
  if (!response) return read_body();
  upload_.reset();  // its stage is gone or published by now: nothing blocks here
  piece_.reset();
  answer_after_drain(std::move(*response));
}

// The connection broke in the middle: what came is kept for a while, so that the client need not send it again.
void Connection::park_upload() {
  stream_.expires_never();
  work(shared_.workers, [self = shared_from_this()] {
    self->upload_->park({self->piece_.get(), self->filled_});
    self->upload_.reset();
    net::post(self->stream_.get_executor(), [self] { self->give_up(); });
  });
}

// Removing a stage is the store's work.
void Connection::drop_upload(Next then) {
  stream_.expires_never();
  work(shared_.workers, [self = shared_from_this(), then = std::move(then)] {
    self->upload_.reset();
    net::post(self->stream_.get_executor(), then);
  });
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
