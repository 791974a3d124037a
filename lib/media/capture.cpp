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
  std::atomic<bool> writer_failed{false};
  Status written;  // valid once the writer has ended
  std::int64_t start_ns = 0;
  std::int64_t next_clock_ns = 0;

  Status add_input(const DeviceSpec& device, Want picture, Want sound);
  void attach();
  Tags tags() const;
  void start_threads(const std::shared_ptr<Shared>& self, int out_fd);
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
  output = {queue.get(), &timeline, static_cast<std::uint32_t>(streams.size())};
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

void Capture::Shared::start_threads(const std::shared_ptr<Shared>& self, int out_fd) {
  writer = std::thread([self, out_fd] {
    NutWriter nut(self->streams, self->tags());
    Status status = sys::write_all(out_fd, nut.header(), "stdout");
    while (status) {
      const auto packet = self->queue->pop();
      if (!packet) break;
      auto bytes = nut.packet({packet->stream, packet->pts, packet->key, packet->data});
      status = bytes ? sys::write_all(out_fd, *bytes, "stdout") : Status(fail(bytes.error()));
    }
    if (status) return;
    self->written = std::move(status);
    self->writer_failed = true;
    self->queue->close();
    self->control->stop();
  });
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i]->thread = std::thread([self, i] {
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
  output.event(std::move(event), timeline.now_ns());
}

bool Capture::Shared::stop_asked() const {
  if (options.stop_fd < 0) return false;
  pollfd polled{options.stop_fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0;
}

bool Capture::Shared::is_overdue(std::int64_t now_ns) const {
  if (!options.duration_ns || now_ns < start_ns + *options.duration_ns + kOvertimeNs) return false;
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
  now.seconds = static_cast<double>(options.clock->monotonic_ns() - start_ns) / 1e9;
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
  shared.start_ns = shared.options.clock->monotonic_ns();
  shared.timeline.set_t0(shared.timeline.from_monotonic(shared.start_ns));
  shared.tell_start();
  shared.tell_clock();
  shared.next_clock_ns = shared.start_ns + kClockEveryNs;
  shared.start_threads(shared_, out_fd);
  if (hooks.ready) hooks.ready();
  while (!shared.stop_asked() && !shared.writer_failed && shared.report_ends()) {
    const std::int64_t now = shared.options.clock->monotonic_ns();
    if (shared.is_overdue(now)) break;
    if (now >= shared.next_clock_ns) {
      shared.next_clock_ns += kClockEveryNs;
      shared.tell_clock();
    }
    if (hooks.progress) hooks.progress(shared.progress());
    std::this_thread::sleep_for(kTick);
  }
  shared.control->stop();
  MC_TRY(shared.finish());
  return shared.progress();
}

}  // namespace mc::media
