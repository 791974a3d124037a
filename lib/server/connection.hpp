// One HTTP/1.1 connection (RFC 9112) on Beast. Private to server.cpp, connection.cpp and connection_body.cpp.
//
// A connection is a chain of callbacks on its own strand with exactly one operation outstanding, on the socket or on a
// worker: read a header, read the body in pieces (each written to the stage by a worker before the next is read), write
// the answer, start again. Threads that wake each other cost more than a piece does, so a worker that has an upload
// goes on with what has arrived meanwhile, without waiting: a body that is there with its header is one job. Requests
// that were pipelined wait in `buffer_`. The object lives as long as an operation holds it. Over TLS the handshake
// comes first, under the same deadline as the header.
#pragma once

#include <atomic>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "server/pace.hpp"
#include "server/peer_stream.hpp"
#include "server/server.hpp"
#include "server/tls.hpp"

namespace mc::server {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

class Connection;
class ControlConnection;

// What the connections of one server share. Outlives them all.
struct Shared {
  Service& service;
  Metrics& metrics;
  Limits limits;
  AccessLog* access_log = nullptr;
  std::unique_ptr<Tls> tls;  // null: without
  net::thread_pool workers;
  net::thread_pool auditors;
  net::thread_pool joiners;   // for joined files, which may need a whole recording read: no audit waits for them
  net::thread_pool resumers;  // for requests that wait until an upload is parked, which workers do

  Shared(Service& the_service, Metrics& the_metrics, const Options& options, AccessLog* log)
      : service(the_service),
        metrics(the_metrics),
        limits(options.limits),
        access_log(log),
        workers(options.workers),
        auditors(options.auditors),
        joiners(options.auditors),
        resumers(2) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections;  // under `mutex`
  std::atomic<bool> stopping{false};  // set under `mutex`, so that no connection is added behind its back
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(net::ip::tcp::socket socket, Shared& shared);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // From any thread; the rest happens on the strand.
  void start();
  void refuse();  // one too many: answers 503 and closes
  void stop();    // after Shared::stopping: closes when no request is in flight, else after its answer
  void abort();   // closes now

  // Whether it waits for a request, and since when; for whoever looks for one that can make room.
  static constexpr std::int64_t kBusy = -1;
  static std::int64_t now_ms();  // monotonic
  std::int64_t idle_since_ms() const { return idle_since_ms_; }
  void claim() { idle_since_ms_ = kBusy; }
  void make_room();  // closes, unless a request has come meanwhile

 private:
  using Next = std::function<void()>;
  static constexpr std::size_t kPieceBytes = 256 * 1024;
  static constexpr std::size_t kWorthWriting = 64 * 1024;
  static constexpr std::size_t kMaxJobBytes = 1024 * 1024;  // of an upload; then others have their turn
  static constexpr std::size_t kDrainPieceBytes = 16 * 1024;
  static constexpr std::size_t kMaxDrainBytes = 1024 * 1024;
  static constexpr std::size_t kReadAheadBytes = 64 * 1024;

  void handshake();
  void read_header();
  void parse_header();
  void on_header(error_code ec);
  std::optional<Response> check_framing() const;
  void take_request();
  void dispatch();

  void begin_command();
  void run_command();
  void begin_control();
  void begin_upload();
  PartialUploads::Interrupt interrupt();
  void refuse_upload(Response response);
  void send_continue();
  void prepare_piece();
  void prepare_body();
  void read_body();
  void on_body(error_code ec);
  void on_broken_body(error_code ec);
  void read_plain_body();
  std::size_t room() const;
  void took(std::size_t n);
  bool take_buffered();
  bool take_arrived();
  std::optional<Response> feed_upload();
  void store_piece();
  void on_stored(std::optional<Response> response);
  void park_upload();
  void drop_upload(Next then);

  void answer_after_drain(Response response);
  void drain(std::size_t left);
  void drain_plain_body(std::size_t left);
  void answer(Response response);
  void write_out(std::size_t done, Next then);
  void send_object();
  void finish_request();
  void note_request();
  void give_up();  // the connection broke, or must be broken, before the answer was out
  void linger();
  void end_sending();
  void read_rest();
  void close();

  // job() on a thread of `pool`, then(what it returned) on the strand.
  template <class Job, class Then>
  void work(net::thread_pool& pool, Job job, Then then);
  void work_ended();
  net::thread_pool& upload_pool() { return is_long_job(request_) ? shared_.auditors : shared_.workers; }
  // Why Beast could not parse what came; nothing when the connection is just over.
  static std::optional<Response> parse_failure(error_code ec);
  bool expects_continue() const;
  bool body_is_done() const { return body_left_ ? *body_left_ == 0 : parser_->is_done(); }

  PeerStream stream_;
  Shared& shared_;
  std::string remote_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::buffer_body>> parser_;

  bool waiting_for_header_ = false;
  std::size_t header_bytes_ = 0;  // of the one that is being read, so far
  std::atomic<std::int64_t> idle_since_ms_{kBusy};
  Pace pace_;
  bool keep_alive_ = false;
  bool unread_body_ = false;  // the answer goes out before the request was read to its end
  Request request_;
  AccessRecord record_;
  std::chrono::steady_clock::time_point started_{};

  bool is_working_ = false;    // a worker has what an upload needs, the socket included: nobody may close it
  bool close_wanted_ = false;  // meanwhile

  bool is_command_ = false;                   // the body is for Service::command
  std::weak_ptr<ControlConnection> control_;  // what this connection has become
  std::unique_ptr<Upload> upload_;
  std::unique_ptr<std::uint8_t[]> piece_;  // for bodies, while one is on its way
  // Of a body whose length is known, once it is being read: its bytes go from the socket into the piece, for Beast
  // would read them in portions of its buffer's size. Nothing: Beast reads it.
  std::optional<std::uint64_t> body_left_;
  std::size_t piece_size_ = 0;
  std::size_t filled_ = 0;

  std::optional<Response> pending_;  // to be sent after draining
  std::string out_;
  std::optional<ObjectBody> object_;
  std::chrono::steady_clock::time_point linger_until_{};
};

// A job that throws (out of memory) costs its own connection, and what it had staged.
template <class Job, class Then>
void Connection::work(net::thread_pool& pool, Job job, Then then) {
  stream_.expires_never();
  is_working_ = true;
  net::post(pool, [self = shared_from_this(), job = std::move(job), then = std::move(then)]() mutable {
    try {
      net::post(self->stream_.get_executor(),
                [self, then = std::move(then), result = std::make_unique<decltype(job())>(job())]() mutable {
                  self->work_ended();
                  then(std::move(*result));
                });
    } catch (const std::exception&) {
      self->upload_.reset();
      net::post(self->stream_.get_executor(), [self] {
        self->work_ended();
        self->give_up();
      });
    }
  });
}

}  // namespace mc::server
