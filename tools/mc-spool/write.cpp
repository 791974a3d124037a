#include "mc-spool/write.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <functional>
#include <vector>

#include "base/clock.hpp"
#include "cli/app.hpp"
#include "mc-spool/control.hpp"
#include "mc-spool/event_sink.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/recorder.hpp"
#include "sys/service_manager.hpp"

namespace mc::tool_spool {
namespace {

// After the first signal the rest of the pipe is still taken: the program before us got the signal too and is writing
// its last frames. One that goes on regardless is cut off after this time.
constexpr int kDrainMs = 3000;
constexpr std::size_t kReadBytes = 1U << 20;
constexpr int kPipeBytes = 1 << 20;
constexpr int kUnpolledReads = 16;

// Who is served while stdin is waited for: SIGUSR1, the recorder's other thread, the control socket.
struct Others {
  sys::Fd status_signal;
  std::function<void()> on_status;
  sys::Wakeup wakeup;
  std::function<Status()> on_wake;
  ControlServer* control = nullptr;  // may be null
};

// Reads stdin; knows how it ended.
class Input {
 public:
  Input(int stop_fd, Others& others) : stop_fd_(stop_fd), others_(others), buffer_(kReadBytes) {
    (void)::fcntl(STDIN_FILENO, F_SETPIPE_SZ, kPipeBytes);  // room for the producer while the disk is slow
  }

  // Up to `wanted` of the next bytes; empty at the end.
  Result<ByteView> read(std::uint64_t wanted) {
    for (;;) {
      // What has_more() saw is not asked for again; the others get their turn all the same.
      if (!known_ready_ || ++unpolled_reads_ >= kUnpolledReads) {
        unpolled_reads_ = 0;
        MC_TRY_ASSIGN(const bool ready, wait());
        if (!ready) {
          cut_off_ = true;
          return ByteView();
        }
      }
      known_ready_ = false;
      const std::span<std::uint8_t> room(buffer_.data(), std::min<std::uint64_t>(buffer_.size(), wanted));
      auto n = sys::read_some(STDIN_FILENO, room, -1, "stdin");
      if (n) return ByteView(buffer_.data(), *n);
      if (n.error().sys_errno != EAGAIN) return fail(std::move(n).error());
    }
  }

  // Is there more already?
  bool has_more() {
    pollfd p{STDIN_FILENO, POLLIN, 0};
    known_ready_ = ::poll(&p, 1, 0) == 1 && (p.revents & POLLIN) != 0;
    return known_ready_;
  }
  bool cut_off() const { return cut_off_; }

 private:
  // Until there is something to read (true), or the time after a stop signal is over.
  Result<bool> wait() {
    for (;;) {
      int timeout_ms = -1;
      if (stopping_) {
        timeout_ms = static_cast<int>((deadline_ns_ - system_clock().monotonic_ns()) / 1'000'000);
        if (timeout_ms <= 0) return false;
      }
      polled_.assign(
          {{STDIN_FILENO, POLLIN, 0}, {others_.status_signal.get(), POLLIN, 0}, {others_.wakeup.fd(), POLLIN, 0}});
      if (!stopping_) polled_.push_back({stop_fd_, POLLIN, 0});
      const std::size_t own = polled_.size();
      if (others_.control != nullptr) others_.control->add_to(polled_);
      const int n = ::poll(polled_.data(), polled_.size(), timeout_ms);
      if (n < 0 && errno != EINTR) return fail(sys::errno_error(errno, "cannot wait for stdin"));
      if (n <= 0) continue;
      if (polled_[1].revents != 0 && sys::take_signal(others_.status_signal)) others_.on_status();
      if (polled_[2].revents != 0) {
        others_.wakeup.clear();
        MC_TRY(others_.on_wake());
      }
      if (polled_.size() > own) others_.control->serve(polled_);
      if (!stopping_ && polled_[3].revents != 0) {
        stopping_ = true;
        deadline_ns_ = system_clock().monotonic_ns() + std::int64_t{kDrainMs} * 1'000'000;
      }
      if (polled_[0].revents != 0) return true;
    }
  }

  int stop_fd_;
  Others& others_;
  ByteBuffer buffer_;
  std::vector<pollfd> polled_;
  bool known_ready_ = false;
  int unpolled_reads_ = 0;
  bool stopping_ = false;
  bool cut_off_ = false;
  std::int64_t deadline_ns_ = 0;
};

json::object in_json(const spool::LossWindow& window) {
  const LatencyHistogram& frames = window.frame_to_durable;
  return {{"frames_pending", window.frames_pending}, {"flushes", window.flushes},
          {"last_flush_us", window.last_flush_us},   {"p50_us", frames.percentile_us(50)},
          {"p99_us", frames.percentile_us(99)},      {"max_us", frames.max_us()}};
}

std::string in_words(const spool::LossWindow& window) {
  const LatencyHistogram& frames = window.frame_to_durable;
  return fmt::format("frame to disk p50 {:.1f} ms, p99 {:.1f} ms, at most {:.1f} ms; last flush {:.1f} ms, {} pending",
                     static_cast<double>(frames.percentile_us(50)) / 1e3,
                     static_cast<double>(frames.percentile_us(99)) / 1e3, static_cast<double>(frames.max_us()) / 1e3,
                     static_cast<double>(window.last_flush_us) / 1e3, window.frames_pending);
}

bool disk_is_full(const Error& error) {
  return error.kind == ErrorKind::no_space &&
         (error.sys_errno == 0 || error.sys_errno == ENOSPC || error.sys_errno == EDQUOT);
}

class Writer {
 public:
  Writer(cli::Invocation& in, const WriteOptions& options)
      : in_(in), options_(options), log_(in.log()), progress_(in) {}

  Result<int> run() {
    if (::isatty(STDIN_FILENO) == 1) {
      return fail(Error{ErrorKind::usage, "stdin is a terminal", 0, "pipe in what mc-mux writes"});
    }
    spool::RecorderOptions recorder_options;
    if (!options_.recording.empty()) {
      MC_TRY_ASSIGN(recorder_options.path, wire::parse_recording_path(options_.recording));
    }
    MC_TRY_ASSIGN(sink_, EventSink::open(options_.events));
    recorder_options.log = log_;
    recorder_options.on_durable = [this](const spool::DurableFrame& frame) { acknowledge(frame); };
    recorder_options.on_chunk = [this](const wire::ChunkLine& line, const std::string& name) { announce(line, name); };
    recorder_options.on_disk = [this](spool::DiskLevel level, const sys::SpaceInfo& space) { warn_of(level, space); };
    recorder_options.reserve_bytes = options_.reserve_bytes;
    recorder_options.warn_bytes = options_.warn_bytes;
    // Before the recorder starts its thread, which would take the signal otherwise.
    MC_TRY_ASSIGN(sys::Fd status_signal, sys::signal_descriptor(SIGUSR1));
    MC_TRY_ASSIGN(sys::Wakeup wakeup, sys::Wakeup::open());
    Others others{std::move(status_signal), {}, std::move(wakeup), {}, nullptr};
    recorder_options.on_wake = [&others] { others.wakeup.poke(); };
    MC_TRY_ASSIGN(auto recorder, spool::Recorder::open(sys::real_file_system(), options_.directory, recorder_options));
    recorder.begin_stream();
    auto control =
        ControlServer::open(options_.directory, [&](const json::object& request) { return answer(request, recorder); });
    // A file system without sockets is no reason not to record.
    if (!control) log_(LogLevel::warning, "no marks can be set: " + control.error().message);
    MC_TRY(sys::notify_ready(in_.notify_fd(), options_.directory));

    others.on_status = [&] { tell_status(recorder); };
    others.on_wake = [&] { return recorder.commit(); };
    others.control = control ? &*control : nullptr;
    Input input(in_.stop.stop_fd(), others);
    auto ended = read_all(input, recorder);
    progress_.clear();
    if (!ended && disk_is_full(ended.error())) return stop_for_room(recorder, std::move(ended).error());
    // A file system that made itself read-only has room; its disk is broken.
    if (!ended && ended.error().kind == ErrorKind::no_space) ended.error().kind = ErrorKind::io;
    if (!ended && ended.error().kind != ErrorKind::damaged) {
      return fail(std::move(ended).error().with_hint("what was acknowledged is in the journals: mc-spool recover"));
    }
    // Damaged input is no reason to lose what came before it.
    const auto how = !ended ? spool::EndOfStream::torn : *ended;
    if (total_bytes_ == 0 && recorder.chunks() == 0) {
      return fail(Error{ErrorKind::not_found, "stdin is empty: nothing was recorded", 0,
                        "look at what the program before in the pipe says"});
    }
    if (!ended && recorder.frames() == 0) return fail(std::move(ended).error());
    MC_TRY(recorder.finish(how));
    if (!ended) return fail(std::move(ended).error());
    MC_TRY(in_.event("finished", {{"chunks", recorder.chunks()},
                                  {"frames", recorder.frames()},
                                  {"closed", recorder.closed()},
                                  {"recording", recorder.recording_id()},
                                  {"disk_errors", recorder.disk_errors()},
                                  {"window", in_json(recorder.loss_window())}}));
    if (failed_event_) return fail(std::move(*failed_event_));
    log_(LogLevel::debug, in_words(recorder.loss_window()));
    if (recorder.disk_errors() > 0) {
      return fail(
          Error{ErrorKind::io,
                fmt::format("the disk failed {} times; all of '{}' was written again to new files and is durable",
                            recorder.disk_errors(), options_.directory),
                0, "do not record on this disk again before it was looked at"});
    }
    return verdict(recorder, input);
  }

 private:
  Result<spool::EndOfStream> read_all(Input& input, spool::Recorder& recorder) {
    for (;;) {
      // No more than a frame is read ahead of the journal: what this process holds dies with it.
      MC_TRY_ASSIGN(const ByteView bytes, input.read(parser_.wanted()));
      if (bytes.empty()) break;
      total_bytes_ += bytes.size();
      parser_.push(bytes);
      auto taken = take_all(recorder);
      // Frames that are waiting already share a flush. Committed also when what follows is damaged: the frames before
      // it are whole.
      if (!taken || recorder.flush_is_due() || !input.has_more()) MC_TRY(recorder.commit());
      MC_TRY(std::move(taken));
    }
    const std::uint64_t torn = parser_.finish().torn_bytes;
    if (input.cut_off()) return spool::EndOfStream::stopped;
    if (torn == 0) return spool::EndOfStream::whole;
    log_(LogLevel::warning, fmt::format("the input ends inside a fragment; its {} bytes are left out", torn));
    return spool::EndOfStream::torn;
  }

  Status take_all(spool::Recorder& recorder) {
    for (;;) {
      MC_TRY_ASSIGN(auto item, parser_.next());
      if (!item) return {};
      MC_TRY(recorder.take(std::move(*item)));
    }
  }

  // No room: what came in becomes durable and is published with what the reserve has kept free, then this is the end.
  Result<int> stop_for_room(spool::Recorder& recorder, Error error) {
    const Status finished = recorder.finish(spool::EndOfStream::disk_full);
    if (!finished) {
      log_(LogLevel::warning, finished.error().message);
      error.hint = "what was acknowledged is in the journals; make room and run mc-spool recover";
    }
    MC_TRY(in_.event("finished", {{"chunks", recorder.chunks()},
                                  {"frames", recorder.frames()},
                                  {"closed", false},
                                  {"reason", "disk-full"},
                                  {"recording", recorder.recording_id()}}));
    return fail(std::move(error));
  }

  void warn_of(spool::DiskLevel level, const sys::SpaceInfo& space) {
    if (level == spool::DiskLevel::enough) return;
    json::object event{{"event", level == spool::DiskLevel::low ? "disk-low" : "disk-full"},
                       {"free_bytes", space.free_bytes},
                       {"free_inodes", space.free_inodes}};
    log_(LogLevel::warning, fmt::format("the disk of '{}' is {}: {} and {} inodes are free", options_.directory,
                                        level == spool::DiskLevel::low ? "getting full" : "full",
                                        cli::human_bytes(space.free_bytes), space.free_inodes));
    tell(std::move(event));
  }

  void tell_status(const spool::Recorder& recorder) {
    // Asked for by a signal: said also with --quiet off only, as any information, and as an event.
    log_(LogLevel::info, fmt::format("{} frames, {} chunks in '{}'; {}", recorder.frames(), recorder.chunks(),
                                     options_.directory, in_words(recorder.loss_window())));
    json::object event{{"event", "status"}, {"frames", recorder.frames()}, {"chunks", recorder.chunks()}};
    event["window"] = in_json(recorder.loss_window());
    tell(std::move(event));
  }

  // To the reader of --events and to stdout with --json.
  void tell(json::object event) {
    sink_.send(event);
    const std::string name = json::get_string(event, "event").value_or("");
    event.erase("event");
    if (auto sent = in_.event(name, std::move(event)); !sent && !failed_event_) failed_event_ = std::move(sent).error();
  }

  // Of the control socket.
  json::object answer(const json::object& request, spool::Recorder& recorder) {
    const auto refuse = [](std::string why) { return json::object{{"ok", false}, {"error", std::move(why)}}; };
    if (json::get_string(request, "command") != "mark") return refuse("no such command");
    const auto text = json::get_string(request, "text");
    if (!text || text->empty() || text->size() > kMaxMarkBytes) return refuse("a mark has 1 to 1024 bytes of text");
    const auto at_ns = recorder.add_event_now({{"event", "mark"}, {"text", *text}});
    if (!at_ns) return refuse(at_ns.error().message);
    return {{"ok", true}, {"t_ns", *at_ns}};
  }

  Result<int> verdict(const spool::Recorder& recorder, const Input& input) {
    const std::string what =
        fmt::format("{} chunks, {} frames in '{}'", recorder.chunks(), recorder.frames(), options_.directory);
    if (recorder.closed()) {
      log_(LogLevel::info, what + ", closed");
      return cli::kDone;
    }
    if (input.cut_off()) {
      log_(LogLevel::info, what + "; stopped, the recording stays open");
      return cli::kDone;
    }
    log_(LogLevel::warning, what +
                                "; the input ended without saying that the recording does: it stays open (write into "
                                "it again to continue it, or mc-spool close)");
    return cli::kNegative;
  }

  void acknowledge(const spool::DurableFrame& frame) {
    watchdog_.feed();  // what is alive is what reaches the disk
    if (!sink_.active()) return;
    sink_.send(
        {{"event", "durable"}, {"track", frame.track}, {"dts", frame.decode_time}, {"chunk", frame.chunk.value}});
  }

  void announce(const wire::ChunkLine& line, const std::string& name) {
    media_bytes_ += line.bytes;
    tell({{"event", "chunk"},
          {"name", name},
          {"bytes", line.bytes},
          {"t_s", line.start.seconds()},
          {"dur_s", line.duration.seconds()},
          {"video", line.video},
          {"audio", line.audio}});
    progress_.show(fmt::format("recording {}  {} chunks  {}",
                               cli::human_duration(line.start.seconds() + line.duration.seconds()), line.number.value,
                               cli::human_bytes(media_bytes_)));
  }

  cli::Invocation& in_;
  const WriteOptions& options_;
  Log log_;
  cli::Progress progress_;
  EventSink sink_;
  sys::Watchdog watchdog_;
  mp4::StreamParser parser_;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t media_bytes_ = 0;
  std::optional<Error> failed_event_;  // stdout failed: said at the end, for the recording comes first
};

}  // namespace

Result<int> write(cli::Invocation& in, const WriteOptions& options) { return Writer(in, options).run(); }

}  // namespace mc::tool_spool
