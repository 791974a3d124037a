#include "rig/supervisor.hpp"

#include <algorithm>
#include <csignal>

#include "base/clock.hpp"
#include "rig/inhibitor.hpp"
#include "rig/monotonic.hpp"
#include "rig/pipeline.hpp"
#include "rig/upload_watch.hpp"
#include "spool/manifest_follower.hpp"
#include "sys/local_socket.hpp"
#include "sys/lock.hpp"
#include "wire/session_view.hpp"

namespace mc::rig {
namespace {

constexpr int kTickMs = 100;
constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kAgentAwayNs = 30'000 * kMs;  // after which nobody needs the devices to be ready
constexpr std::int64_t kStatusEveryNs = 1000 * kMs;
constexpr std::int64_t kLongestPauseNs = 5000 * kMs;  // between two starts of the pipeline
constexpr std::int64_t kWorkedNs = 30'000 * kMs;      // it ran for so long: the next start is at once again
constexpr std::int64_t kHungNs = 10'000 * kMs;        // devices from which nothing comes
constexpr std::int64_t kOpeningNs = 30'000 * kMs;     // devices that do not open
constexpr std::int64_t kStopPatienceNs = 15'000 * kMs;
constexpr std::int64_t kCloseAgainNs = 1000 * kMs;  // the first time; twice as long each further time, up to
constexpr std::int64_t kLongestCloseNs = 60'000 * kMs;
constexpr int kNoInput = 66, kDamaged = 65;

class Supervisor {
 public:
  Supervisor(sys::FileSystem& fs, const SupervisorOptions& options, Order order, sys::Fd listener, int log_fd)
      : fs_(fs),
        options_(options),
        order_(std::move(order)),
        listener_(std::move(listener)),
        pipeline_({.socket_path = in_directory(kCaptureSocketName),
                   .capture = order_.capture,
                   .log_path = in_directory(kLogName),
                   .log_fd = log_fd}),
        log_fd_(log_fd),
        upload_(options.directory, log_fd, options.log),
        inhibitor_(options.log) {}

  Status run();

 private:
  std::string in_directory(const char* name) const { return sys::join_path(options_.directory, name); }
  bool has_take() const { return !order_.take.empty(); }

  void wait();
  void hear();
  static std::optional<ClockReading> clock_of(const json::object& command);
  Status obey(const json::object& command);
  Status record(const json::object& command);
  Status stop(const json::object& command);
  void keep(Order next);

  void drive_pipeline();
  void start_pipeline();
  void tell_pipeline();
  void break_hung_pipeline();
  void close_recording();
  void close_later();
  void give_up(const std::string& why);
  void drive_upload();

  void count_chunks();
  wire::Telemetry telemetry() const;
  void tell_status();
  void say(const std::string& alarm);

  sys::FileSystem& fs_;
  const SupervisorOptions& options_;
  Order order_;
  sys::Fd listener_;
  LineSocket agent_;
  Pipeline pipeline_;
  int log_fd_;
  UploadWatch upload_;
  Inhibitor inhibitor_;
  std::optional<sys::Process> close_;
  std::optional<spool::ManifestFollower> manifest_;
  std::int64_t chunks_ = 0, recorded_before_ms_ = 0;

  bool was_begun_ = false, was_ended_ = false;  // what the pipeline that runs has been told
  std::int64_t started_at_ns_ = 0, start_at_ns_ = 0, pause_ns_ = 0;
  std::int64_t stop_deadline_ns_ = 0, close_at_ns_ = 0, close_pause_ns_ = kCloseAgainNs;
  std::int64_t next_status_ns_ = 0, agent_seen_ns_ = monotonic_ns();
  bool status_is_due_ = true;
  std::string trouble_, disk_trouble_;  // for people
};

Status Supervisor::run() {
  pipeline_.adopt();
  for (;;) {
    if (options_.stop_fd >= 0 && !has_take() && sys::wait_readable(options_.stop_fd, 0).value_or(false)) {
      MC_TRY(stop({}));
    }
    hear();
    if (agent_.is_open()) agent_seen_ns_ = monotonic_ns();
    if (!has_take() && monotonic_ns() - agent_seen_ns_ > kAgentAwayNs) MC_TRY(stop({}));
    drive_pipeline();
    drive_upload();
    if (status_is_due_ || monotonic_ns() >= next_status_ns_) tell_status();
    if (order_.is_over() && pipeline_.state() == Pipeline::State::over) return {};
    wait();
  }
}

void Supervisor::wait() {
  std::vector<pollfd> wanted{{listener_.get(), POLLIN, 0}};
  if (agent_.is_open()) wanted.push_back({agent_.fd(), POLLIN, 0});
  if (close_) wanted.push_back({close_->fd(), POLLIN, 0});
  pipeline_.add_to(wanted);
  upload_.add_to(wanted);
  (void)::poll(wanted.data(), wanted.size(), kTickMs);
}

void Supervisor::hear() {
  if (auto fd = sys::accept_local(listener_); fd && fd->valid()) {
    agent_ = LineSocket(std::move(*fd));  // the newest counts
    status_is_due_ = true;
  }
  for (const json::object& command : agent_.take()) {
    if (const auto done = obey(command); !done) {
      say(done.error().message);
      agent_.send({{"event", "error"}, {"error", done.error().message}});
    }
    tell_status();
  }
}

// What an agent says of the clock is of this boot.
std::optional<ClockReading> Supervisor::clock_of(const json::object& command) {
  auto clock = clock_from_json(command);
  if (clock) clock->boot_id = boot_id();
  return clock;
}

Status Supervisor::obey(const json::object& command) {
  const std::string name = json::get_string(command, "command").value_or("");
  if (name == "record") return record(command);
  if (name == "stop") return stop(command);
  if (name != "clock") return fail(ErrorKind::usage, "not a command: '" + name + "'");
  auto clock = clock_of(command);
  if (!clock) return fail(ErrorKind::usage, "a clock without offset or bound");
  // Not worth a flush: whoever starts without it takes the one before.
  order_.clock = std::move(clock);
  pipeline_.tell_clock(*order_.clock);
  return {};
}

Status Supervisor::record(const json::object& command) {
  if (has_take() || order_.stopped) return {};
  Order next = order_;
  next.take = json::get_string(command, "take").value_or("");
  MC_TRY_ASSIGN(next.t0_ns, parse_utc(json::get_string(command, "t0").value_or("")));
  if (!wire::is_take(next.take)) return fail(ErrorKind::usage, "not a take: '" + next.take + "'");
  if (auto clock = clock_of(command)) next.clock = std::move(clock);
  next.session_id = json::get_string(command, "session_id").value_or(next.session_id);
  next.directory = choose_directory(fs_, next);
  keep(std::move(next));
  return {};
}

Status Supervisor::stop(const json::object& command) {
  // Meant for another take, or for the standby that this was: whoever said it did not know.
  if (order_.stopped || json::get_string(command, "take").value_or("") != order_.take) return {};
  Order next = order_;
  next.stopped = true;
  if (command.contains("t1")) {
    MC_TRY_ASSIGN(next.t1_ns, parse_utc(json::get_string(command, "t1").value_or("")));
  }
  keep(std::move(next));
  return {};
}

// A disk that cannot take the order does not keep us from obeying it.
void Supervisor::keep(Order next) {
  order_ = std::move(next);
  const Status kept = keep_order(fs_, options_.directory, order_);
  if (!kept) say("an order cannot be kept: " + kept.error().message);
}

void Supervisor::drive_pipeline() {
  const bool was_running = pipeline_.state() != Pipeline::State::over;
  pipeline_.look();
  if (pipeline_.state() != Pipeline::State::over) {
    tell_pipeline();
    break_hung_pipeline();
    return;
  }
  if (was_running) {
    status_is_due_ = true;
    was_begun_ = was_ended_ = false;
    stop_deadline_ns_ = 0;
    if (!pipeline_.last_words().empty()) say(pipeline_.last_words());
    const bool worked = monotonic_ns() - started_at_ns_ > kWorkedNs;
    start_at_ns_ = monotonic_ns() + (worked ? 0 : pause_ns_);
    pause_ns_ = worked ? 0 : std::clamp<std::int64_t>(pause_ns_ * 2, 250 * kMs, kLongestPauseNs);
  }
  if (order_.is_over() || order_.closed) return;
  if (order_.stopped) return close_recording();
  if (monotonic_ns() >= start_at_ns_) start_pipeline();
}

void Supervisor::start_pipeline() {
  started_at_ns_ = monotonic_ns();
  const Status started = pipeline_.start_capture();
  if (started) return tell_pipeline();
  say(started.error().message);
  start_at_ns_ = monotonic_ns() + kLongestPauseNs;
}

void Supervisor::tell_pipeline() {
  if (has_take() && !pipeline_.is_storing()) {
    Status ready = sys::make_directories(fs_, sys::parent_path(order_.directory));
    if (ready) {
      ready = pipeline_.start_storing(order_.directory, order_.session + "/" + order_.take + "/" + order_.guest);
    }
    if (!ready) say(ready.error().message);
  }
  using State = Pipeline::State;
  if (pipeline_.state() == State::recording && !trouble_.empty() && monotonic_ns() - started_at_ns_ > 2000 * kMs) {
    trouble_.clear();
  }
  if (pipeline_.state() == State::standby && has_take() && pipeline_.is_storing() && !was_begun_) {
    was_begun_ = true;
    pipeline_.begin(order_.t0_ns, usable_clock(order_.clock));
  }
  // Told to end while its devices are still being opened: when they are, for before nobody listens.
  if (order_.stopped && pipeline_.state() != State::opening && !was_ended_) {
    was_ended_ = true;
    pipeline_.end(order_.t1_ns);
  }
  if (!order_.stopped) return;
  if (stop_deadline_ns_ == 0) stop_deadline_ns_ = monotonic_ns() + kStopPatienceNs;
  if (monotonic_ns() < stop_deadline_ns_) return;
  say("the capture does not end; it is broken off");
  pipeline_.break_off();
  stop_deadline_ns_ = monotonic_ns() + kStopPatienceNs;
}

void Supervisor::break_hung_pipeline() {
  if (order_.stopped) return;
  const bool opening = pipeline_.state() == Pipeline::State::opening;
  if (monotonic_ns() - pipeline_.status_at_ns() < (opening ? kOpeningNs : kHungNs)) return;
  if (stop_deadline_ns_ > monotonic_ns()) return;  // it is being broken off
  say("nothing comes from the devices; they are opened again");
  pipeline_.break_off();
  stop_deadline_ns_ = monotonic_ns() + 1000 * kMs;
}

// The pipeline closes the manifest itself; whatever kept it from doing so, this is done once more, and does nothing
// then.
void Supervisor::close_recording() {
  if (!has_take()) return;
  if (close_) {
    const auto status = close_->status();
    if (!status) return;
    close_.reset();
    status_is_due_ = true;
    if (*status == 0) {
      Order next = order_;
      next.closed = true;
      keep(std::move(next));
      return;
    }
    if (*status == kNoInput || *status == kDamaged) {
      count_chunks();
      if (chunks_ == 0) return give_up("nothing was recorded");
    }
    say("the recording cannot be closed yet (mc-spool ended with " + std::to_string(*status) + ")");
    close_later();
    return;
  }
  if (monotonic_ns() < close_at_ns_) return;
  const auto program = sys::find_sibling_program("mc-spool");
  auto started =
      program ? sys::Process::start(
                    {.program = *program, .arguments = {"--quiet", "close", order_.directory}, .err_fd = log_fd_})
              : Result<sys::Process>(fail(program.error()));
  if (started) {
    close_ = std::move(*started);
  } else {
    say(started.error().message);
    close_later();
  }
}

void Supervisor::close_later() {
  close_at_ns_ = monotonic_ns() + close_pause_ns_;
  close_pause_ns_ = std::min(close_pause_ns_ * 2, kLongestCloseNs);
}

void Supervisor::give_up(const std::string& why) {
  say(why);
  upload_.end();
  Order next = order_;
  next.failed = why + (pipeline_.last_words().empty() ? "" : " (" + pipeline_.last_words() + ")");
  keep(std::move(next));
}

void Supervisor::drive_upload() {
  if (!has_take() || order_.is_over()) return;
  inhibitor_.hold("the recording " + order_.session + "/" + order_.take + " is not on the server yet");
  const bool was_synced = upload_.is_synced();
  upload_.look(order_);
  if (!upload_.is_synced() || was_synced) return;
  Order next = order_;
  next.stopped = next.closed = next.synced = true;
  keep(std::move(next));
  status_is_due_ = true;
}

void Supervisor::count_chunks() {
  if (!has_take()) return;
  if (!manifest_) manifest_.emplace(fs_, order_.directory);
  if (!manifest_->look()) {
    manifest_.reset();  // not there yet; or recovery has changed it: read anew
    return;
  }
  chunks_ = manifest_->manifest().chunk_count();
  // Of what ran before this pipeline, the chunks are the measure.
  if (pipeline_.state() != Pipeline::State::recording) recorded_before_ms_ = chunks_ * 1000;
}

wire::Telemetry Supervisor::telemetry() const {
  using State = Pipeline::State;
  wire::Telemetry t;
  t.guest = order_.guest;
  t.take = order_.take;
  if (order_.synced) {
    t.state = "synced";
  } else if (!order_.failed.empty()) {
    t.state = "failed";
  } else if (has_take()) {
    t.state = order_.stopped ? "finalizing" : "recording";
  } else {
    t.state = pipeline_.state() == State::standby ? "standby" : "preparing";
  }
  const CaptureStatus& capture = pipeline_.status();
  if (has_take()) {
    t.recorded_ms = std::max(capture.recorded_ms, recorded_before_ms_);
    t.chunks_durable = chunks_;
    t.chunks_uploaded = upload_.chunks();
    t.lag_ms = std::max<std::int64_t>(0, chunks_ - upload_.chunks()) * 1000;
  }
  if (const auto space = fs_.space(order_.spool)) t.disk_free_bytes = static_cast<std::int64_t>(space->free_bytes);
  if (pipeline_.state() != State::over) {
    t.sound_peak_db = capture.sound_peak_db;
    t.encoder_load_percent = capture.encoder_load_percent;
  }
  if (!trouble_.empty()) t.alarms.push_back(trouble_);
  if (!order_.failed.empty() && order_.failed != trouble_) t.alarms.push_back(order_.failed);
  if (capture.dropped_packets > 0) {
    t.alarms.push_back(std::to_string(capture.dropped_packets) + " packets were dropped: the disk is too slow");
  }
  if (!upload_.trouble().empty() && !order_.synced) t.alarms.push_back(upload_.trouble());
  return t;
}

void Supervisor::tell_status() {
  next_status_ns_ = monotonic_ns() + kStatusEveryNs;
  status_is_due_ = false;
  count_chunks();
  json::object status = wire::to_json(telemetry());
  status["event"] = "status";
  status["stopped"] = order_.stopped;
  status["capturing"] = pipeline_.state() != Pipeline::State::over;
  json::object pids = pipeline_.pids();
  if (const auto pid = upload_.pid()) pids["mc-push"] = *pid;
  status["pids"] = std::move(pids);
  agent_.send(status);
}

void Supervisor::say(const std::string& alarm) {
  if (alarm != trouble_) options_.log(LogLevel::warning, alarm);
  trouble_ = alarm;
  status_is_due_ = true;
}

}  // namespace

Status supervise(sys::FileSystem& fs, const SupervisorOptions& options) {
  auto lock = sys::FileLock::acquire(sys::join_path(options.directory, kLockName));
  if (!lock && lock.error().kind == ErrorKind::unavailable) {
    return fail(ErrorKind::unavailable, "another supervisor obeys the orders in '" + options.directory + "'");
  }
  if (!lock) return fail(lock.error());
  MC_TRY_ASSIGN(Order order, load_order(fs, options.directory));
  const std::string log_path = sys::join_path(options.directory, kLogName);
  MC_TRY_ASSIGN(const sys::Fd log_fd, sys::open_output(log_path));
  MC_TRY_ASSIGN(sys::Fd listener, sys::listen_local(sys::join_path(options.directory, kSocketName)));
  return Supervisor(fs, options, std::move(order), std::move(listener), log_fd.get()).run();
}

}  // namespace mc::rig
