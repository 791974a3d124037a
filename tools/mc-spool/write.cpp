#include "mc-spool/write.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/clock.hpp"
#include "cli/app.hpp"
#include "mc-spool/event_sink.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/recorder.hpp"

namespace mc::tool_spool {
namespace {

// After the first signal the rest of the pipe is still taken: the program before us got the signal too and is writing
// its last frames. One that goes on regardless is cut off after this time.
constexpr int kDrainMs = 3000;
constexpr std::size_t kReadBytes = 1U << 20;

// Reads stdin; knows how it ended.
class Input {
 public:
  explicit Input(int stop_fd) : stop_fd_(stop_fd), buffer_(kReadBytes) {}

  // The next bytes; empty at the end.
  Result<ByteView> read() {
    if (!stopping_) {
      auto n = sys::read_some(STDIN_FILENO, buffer_, stop_fd_, "stdin");
      if (n) return ByteView(buffer_.data(), *n);
      if (n.error().sys_errno != EINTR) return fail(std::move(n).error());
      stopping_ = true;
      deadline_ns_ = system_clock().monotonic_ns() + std::int64_t{kDrainMs} * 1'000'000;
    }
    const std::int64_t left_ms = (deadline_ns_ - system_clock().monotonic_ns()) / 1'000'000;
    if (left_ms > 0) {
      MC_TRY_ASSIGN(const bool ready, sys::wait_readable(STDIN_FILENO, static_cast<int>(left_ms)));
      if (ready) {
        MC_TRY_ASSIGN(const std::size_t n, sys::read_some(STDIN_FILENO, buffer_, -1, "stdin"));
        return ByteView(buffer_.data(), n);
      }
    }
    cut_off_ = true;
    return ByteView();
  }

  bool cut_off() const { return cut_off_; }

 private:
  int stop_fd_;
  ByteBuffer buffer_;
  bool stopping_ = false;
  bool cut_off_ = false;
  std::int64_t deadline_ns_ = 0;
};

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
    MC_TRY_ASSIGN(auto recorder, spool::Recorder::open(sys::real_file_system(), options_.directory, recorder_options));
    recorder.begin_stream();
    MC_TRY(sys::notify_ready(in_.notify_fd(), options_.directory));

    Input input(in_.stop.stop_fd());
    auto ended = read_all(input, recorder);
    progress_.clear();
    if (!ended && ended.error().kind != ErrorKind::damaged) return fail(std::move(ended).error());
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
                                  {"recording", recorder.recording_id()}}));
    if (failed_event_) return fail(std::move(*failed_event_));
    return verdict(recorder, input);
  }

 private:
  Result<spool::EndOfStream> read_all(Input& input, spool::Recorder& recorder) {
    for (;;) {
      MC_TRY_ASSIGN(const ByteView bytes, input.read());
      if (bytes.empty()) break;
      total_bytes_ += bytes.size();
      parser_.push(bytes);
      auto taken = take_all(recorder);
      // Committed also when what follows is damaged: the frames before it are whole.
      MC_TRY(recorder.commit());
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
    if (!sink_.active()) return;
    sink_.send(
        {{"event", "durable"}, {"track", frame.track}, {"dts", frame.decode_time}, {"chunk", frame.chunk.value}});
  }

  void announce(const wire::ChunkLine& line, const std::string& name) {
    media_bytes_ += line.bytes;
    const json::object fields{
        {"name", name},        {"bytes", line.bytes}, {"t_s", line.start.seconds()}, {"dur_s", line.duration.seconds()},
        {"video", line.video}, {"audio", line.audio}};
    if (sink_.active()) {
      json::object event{{"event", "chunk"}};
      for (const auto& [key, value] : fields) event[key] = value;
      sink_.send(event);
    }
    if (auto sent = in_.event("chunk", fields); !sent && !failed_event_) failed_event_ = std::move(sent).error();
    progress_.show(fmt::format("recording {}  {} chunks  {}",
                               cli::human_duration(line.start.seconds() + line.duration.seconds()), line.number.value,
                               cli::human_bytes(media_bytes_)));
  }

  cli::Invocation& in_;
  const WriteOptions& options_;
  Log log_;
  cli::Progress progress_;
  EventSink sink_;
  mp4::StreamParser parser_;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t media_bytes_ = 0;
  std::optional<Error> failed_event_;  // stdout failed: said at the end, for the recording comes first
};

}  // namespace

Result<int> write(cli::Invocation& in, const WriteOptions& options) { return Writer(in, options).run(); }

}  // namespace mc::tool_spool
