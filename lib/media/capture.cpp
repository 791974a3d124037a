#include "media/capture.hpp"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "media/av_error.hpp"
#include "media/capture_input.hpp"
#include "media/nut_writer.hpp"
#include "sys/fd.hpp"

namespace mc::media {
namespace {

constexpr auto kTick = std::chrono::milliseconds(50);
constexpr std::int64_t kClockEveryNs = 60'000'000'000;
// How long a device may take to notice that it is to stop.
constexpr std::int64_t kStopNs = 3'000'000'000;
// A device that gives nothing never comes to the end of the duration by itself.
constexpr std::int64_t kOvertimeNs = 1'000'000'000;

}  // namespace

struct Capture::Shared {
  explicit Shared(const CaptureOptions& given) : options(given), timeline(*given.clock) {}

  struct Running {
    std::unique_ptr<CaptureInput> input;
    std::thread thread;
    std::atomic<bool> ended{false};
    Status status;  // valid once `ended`
    bool reported = false;
  };

  CaptureOptions options;
  Timeline timeline;
  std::vector<std::unique_ptr<Running>> inputs;
  std::vector<Stream> streams;
  std::unique_ptr<PacketQueue> queue;
  std::unique_ptr<CaptureControl> control;
  LaneOutput output;
  std::thread writer;
  int out_fd = -1;
  std::shared_ptr<Shared> self;  // while it runs, for its threads
  bool started = false;
  bool stopped_in_standby = false;
  bool on_session_clock = false;
  std::atomic<std::uint32_t> key_frames_wanted{0};
  std::atomic<bool> writer_failed{false};
  Status written;  // valid once the writer has ended
  std::int64_t start_ns = 0;
  std::int64_t next_clock_ns = 0;

  Status add_input(const DeviceSpec& device, Want picture, Want sound);
  void attach();
  Tags tags() const;
  void begin();  // t0 is set: events, then packets, then the writer
  void start_inputs();
  void start_writer();
  void tell_start();
  void tell_clock();
  bool stop_asked() const;
  bool is_overdue(std::int64_t now_ns) const;
  bool report_ends();  // true: at least one input is still wanted
  Status finish();
  CaptureProgress progress() const;
  std::string lost_devices() const;
};

Status Capture::Shared::add_input(const DeviceSpec& device, Want picture, Want sound) {
  auto running = std::make_unique<Running>();
  MC_TRY_ASSIGN(running->input, CaptureInput::open(device, picture, sound, options));
  inputs.push_back(std::move(running));
  return {};
}

Result<std::unique_ptr<Capture>> Capture::open(const CaptureOptions& options) {
  route_av_log(options.log);
  auto shared = std::make_shared<Shared>(options);
  const auto& video = options.video;
  const auto& audio = options.audio;
  // One file for both is read once. A file that is only named for its picture gives its sound too, as a camera would.
  const bool one_file = video && video->backend == Backend::file && (!audio || audio->text == video->text);
  const Want sound_too = !one_file ? Want::no : audio ? Want::required : Want::if_present;
  if (video) MC_TRY(shared->add_input(*video, Want::required, sound_too));
  if (audio && !one_file) MC_TRY(shared->add_input(*audio, Want::no, Want::required));
  if (shared->inputs.empty()) return fail(ErrorKind::usage, "neither picture nor sound to capture");
  shared->attach();
  return std::unique_ptr<Capture>(new Capture(std::move(shared)));
}

Capture::~Capture() = default;

void Capture::Shared::attach() {
  for (const auto& running : inputs) {
    for (const auto& lane : running->input->lanes()) streams.push_back(lane->stream());
  }
  Stream events;
  events.kind = StreamKind::events;
  events.time_base = {1, 1'000'000};
  queue = std::make_unique<PacketQueue>(options.queue_bytes, streams.size());
  control = std::make_unique<CaptureControl>(inputs.size());
  output = {queue.get(), &timeline, &key_frames_wanted, static_cast<std::uint32_t>(streams.size())};
  if (options.begin == Begin::when_told) output.preroll_ns = options.preroll_ns;
  output.preroll_bytes = options.queue_bytes / 2;  // the picture's and the sound's; and it still fits into the queue
  streams.push_back(events);
  std::uint32_t index = 0;
  for (const auto& running : inputs) {
    for (const auto& lane : running->input->lanes()) lane->attach(output, index++);
  }
}

Tags Capture::Shared::tags() const {
  Tags tags{{"maycast-t0", format_utc(timeline.t0_ns())}, {"maycast-bound-us", std::to_string(timeline.bound_us())}};
  if (!options.recording_id.empty()) tags["maycast-recording"] = options.recording_id;
  return tags;
}

void Capture::Shared::begin() {
  tell_start();
  tell_clock();
  next_clock_ns = options.clock->monotonic_ns() + kClockEveryNs;
  started = true;
  // The events are in front. Standby has nothing for a t0 that is still to come.
  if (output.preroll_ns > 0 && timeline.t0_ns() < timeline.now_ns()) queue->hold(streams.size() - 1);
  timeline.arm();
  start_writer();
}

void Capture::Shared::start_writer() {
  writer = std::thread([self = self] {
    NutWriter nut(self->streams, self->tags());
    Status status = sys::write_all(self->out_fd, nut.header(), "stdout");
    while (status) {
      const auto packet = self->queue->pop();
      if (!packet) break;
      auto bytes = nut.packet({packet->stream, packet->pts, packet->key, packet->data});
      status = bytes ? sys::write_all(self->out_fd, *bytes, "stdout") : Status(fail(bytes.error()));
    }
    if (status) return;
    self->written = std::move(status);
    self->writer_failed = true;
    self->queue->close();
    self->control->stop();
  });
}

void Capture::Shared::start_inputs() {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i]->thread = std::thread([self = self, i] {
      Running& running = *self->inputs[i];
      running.status = running.input->run(*self->control, i, self->start_ns);
      running.ended = true;
    });
  }
}

void Capture::Shared::tell_start() {
  json::object event;
  event["event"] = "start";
  event["t0"] = format_utc(timeline.t0_ns());
  if (options.video) event["video"] = options.video->text;
  if (options.audio) event["audio"] = options.audio->text;
  output.event(std::move(event), timeline.t0_ns());
}

void Capture::Shared::tell_clock() {
  json::object event;
  event["event"] = "clock";
  event["bound-us"] = timeline.bound_us();
  event["wall-offset-us"] = timeline.wall_offset_ns() / 1000;
  if (on_session_clock) event["session-offset-us"] = timeline.session_offset_ns() / 1000;
  output.event(std::move(event), timeline.now_ns());
}

bool Capture::Shared::stop_asked() const {
  if (stopped_in_standby) return true;
  if (options.stop_fd < 0) return false;
  pollfd polled{options.stop_fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0;
}

bool Capture::Shared::is_overdue(std::int64_t now_ns) const {
  const auto end_ns = timeline.end_ns();
  if (!end_ns || timeline.from_monotonic(now_ns) < *end_ns + kOvertimeNs) return false;
  // A slow encoder is no reason to cut a file short: those come to their end by themselves.
  return std::all_of(inputs.begin(), inputs.end(),
                     [](const auto& running) { return running->ended || running->input->device().is_live(); });
}

bool Capture::Shared::report_ends() {
  bool any_running = false, any_source = false, source_running = false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Running& running = *inputs[i];
    const bool is_source = !running.input->device().is_live();
    any_source = any_source || is_source;
    if (!running.ended) {
      any_running = true;
      source_running = source_running || is_source;
      continue;
    }
    if (!started) return false;
    if (std::exchange(running.reported, true) || running.status) continue;
    options.log(LogLevel::warning, running.status.error().message + "; the recording goes on without it");
    for (const auto& lane : running.input->lanes()) {
      lane->tell_last_loss();
      json::object event;
      event["event"] = "device-lost";
      event["device"] = running.input->device().text;
      event["error"] = running.status.error().message;
      for (std::size_t s = 0; s < streams.size(); ++s) {
        if (streams[s].kind == lane->stream().kind) event["track"] = s + 1;
      }
      json::object gap{{"event", "gap"}, {"track", event["track"]}, {"reason", "device-lost"}};
      output.event(std::move(event), timeline.now_ns());
      output.event(std::move(gap), timeline.now_ns());
    }
  }
  // The end of the file (or of all of them) is the end of the recording; a microphone beside it would go on for ever.
  return any_source ? source_running : any_running;
}

CaptureProgress Capture::Shared::progress() const {
  CaptureProgress now;
  if (started) now.seconds = static_cast<double>(std::max<std::int64_t>(timeline.now_ns() - timeline.t0_ns(), 0)) / 1e9;
  for (const auto& running : inputs) {
    for (const auto& lane : running->input->lanes()) {
      (lane->stream().kind == StreamKind::picture ? now.video_frames : now.audio_frames) += lane->frames();
    }
  }
  now.dropped_packets = queue->dropped();
  now.queued_bytes = queue->bytes();
  return now;
}

std::string Capture::Shared::lost_devices() const {
  std::string text;
  for (const auto& running : inputs) {
    if (!running->ended || running->status) continue;
    text += (text.empty() ? "" : "; ") + running->status.error().message;
  }
  return text;
}

Status Capture::Shared::finish() {
  const bool stopped = stop_asked();
  const std::int64_t deadline = options.clock->monotonic_ns() + kStopNs;
  bool all_lost = true;
  for (const auto& running : inputs) {
    // Files and synthetic sources always come back; their encoders may need a while.
    while (!running->ended && (!running->input->device().is_live() || options.clock->monotonic_ns() < deadline)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (running->ended) {
      running->thread.join();
    } else {
      options.log(LogLevel::warning, "'" + running->input->device().text + "' does not answer any more");
      running->thread.detach();
    }
  }
  if (!started) {
    queue->close();
    const std::string lost = lost_devices();
    if (!lost.empty() && !stopped) return fail(ErrorKind::io, lost);
    if (!stopped) return fail(ErrorKind::not_found, "it ended before it was told to start");
    return {};
  }
  (void)report_ends();
  // No packet follows that would tell what the queue dropped last; a recording must not close as if it were whole.
  for (const auto& running : inputs) {
    for (const auto& lane : running->input->lanes()) lane->tell_last_loss();
  }
  for (const auto& running : inputs) all_lost = all_lost && running->ended && !running->status;
  const bool complete = !all_lost && !writer_failed;
  const CaptureProgress counts = progress();
  const bool empty = counts.video_frames + counts.audio_frames == 0;
  std::int64_t end_ns = timeline.t0_ns();
  for (const auto& running : inputs) {
    for (const auto& lane : running->input->lanes()) end_ns = std::max(end_ns, lane->last_ns());
  }
  if (complete && !empty) output.event({{"event", "end"}}, end_ns);
  queue->close();
  writer.join();
  if (!written) return written;
  if (all_lost) return fail(ErrorKind::io, "all devices are lost: " + lost_devices());
  if (empty) return fail(ErrorKind::not_found, "not a single frame came");
  return {};
}

Result<CaptureProgress> Capture::run(int out_fd, const CaptureHooks& hooks) {
  Shared& shared = *shared_;
  const CaptureOptions& options = shared.options;
  shared.out_fd = out_fd;
  shared.self = shared_;
  shared.start_ns = options.clock->monotonic_ns();
  if (options.begin == Begin::at_once) {
    const std::int64_t zero = shared.timeline.from_monotonic(shared.start_ns);
    shared.timeline.set_t0(zero);
    shared.timeline.set_source_zero(zero);
    if (options.duration_ns) shared.timeline.set_end(zero + *options.duration_ns);
    shared.begin();
  }
  shared.start_inputs();
  if (hooks.ready) hooks.ready();
  while (!shared.stop_asked() && !shared.writer_failed && shared.report_ends()) {
    const std::int64_t now = shared.options.clock->monotonic_ns();
    if (shared.is_overdue(now)) break;
    if (shared.started && now >= shared.next_clock_ns) {
      shared.next_clock_ns += kClockEveryNs;
      shared.tell_clock();
    }
    if (hooks.progress) hooks.progress(shared.progress());
    if (!hooks.wait) {
      std::this_thread::sleep_for(kTick);
    } else if (const Status waited = hooks.wait(static_cast<int>(kTick.count())); !waited) {
      shared.options.log(LogLevel::warning, waited.error().message);
      std::this_thread::sleep_for(kTick);
    }
  }
  shared.control->stop();
  shared.self.reset();
  MC_TRY(shared.finish());
  return shared.progress();
}

Status Capture::start(const CaptureStart& start) {
  Shared& shared = *shared_;
  if (shared.started) return fail(ErrorKind::refused, "the capture has started already");
  if (const std::string lost = shared.lost_devices(); !lost.empty()) return fail(ErrorKind::io, lost);
  Timeline& timeline = shared.timeline;
  timeline.set_session(start.clock.offset_ns, start.clock.bound_us);
  shared.on_session_clock = true;
  timeline.set_t0(start.t0_ns);
  timeline.set_source_zero(timeline.from_monotonic(shared.start_ns));
  if (shared.options.duration_ns) timeline.set_end(start.t0_ns + *shared.options.duration_ns);
  shared.begin();
  return {};
}

void Capture::follow(const SessionReading& clock) {
  Shared& shared = *shared_;
  if (!shared.on_session_clock) return;
  const std::int64_t step_ns = shared.timeline.follow_session(clock.offset_ns, clock.bound_us);
  if (step_ns == 0) return;
  shared.options.log(LogLevel::warning, "the session clock was stepped by " + std::to_string(step_ns / 1'000'000) +
                                            " ms; the recording's time was not");
  json::object event;
  event["event"] = "clock";
  event["step-us"] = step_ns / 1000;
  shared.output.event(std::move(event), shared.timeline.now_ns());
}

void Capture::stop(std::optional<std::int64_t> t1_ns) {
  Shared& shared = *shared_;
  if (!shared.started) {
    shared.stopped_in_standby = true;
  } else {
    const Timeline& timeline = shared.timeline;
    shared.timeline.set_end(t1_ns ? timeline.from_session(*t1_ns) : timeline.now_ns());
  }
}

void Capture::want_key_frame() { ++shared_->key_frames_wanted; }

CaptureLevels Capture::take_levels() {
  CaptureLevels levels;
  for (const auto& running : shared_->inputs) {
    for (const auto& lane : running->input->lanes()) {
      (lane->stream().kind == StreamKind::picture ? levels.video_seen : levels.sound_seen) += lane->seen();
      if (const auto peak = lane->take_peak()) levels.sound_peak = std::max(levels.sound_peak.value_or(0), *peak);
      levels.encoding_ns = std::max(levels.encoding_ns, lane->encoding_ns());
    }
  }
  return levels;
}

}  // namespace mc::media
