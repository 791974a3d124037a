#include "mc-capture/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>

#include "cli/app.hpp"
#include "mc-capture/control.hpp"
#include "media/capture.hpp"
#include "sys/service_manager.hpp"

namespace mc::tool_capture {
namespace {

struct Options {
  std::string video, audio;
  std::string control;
  std::string video_bitrate = "8M", audio_bitrate = "192k";
  double duration_seconds = 0;
  std::uint64_t queue_mb = 60;
  double preroll_seconds = 5;
  media::CaptureOptions capture;
};

// "8M", "192k" or plain bits per second.
Result<std::int64_t> parse_bitrate(const std::string& text) {
  std::size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = text.substr(used);
  if (unit == "k") value *= 1e3;
  if (unit == "M") value *= 1e6;
  const bool known = unit.empty() || unit == "k" || unit == "M";
  if (used == 0 || !known || !(value >= 1000 && value <= 1e9)) {
    return fail(Error{ErrorKind::usage, "not a bit rate: '" + text + "'", 0, "bits per second, as in 8M or 192k"});
  }
  return static_cast<std::int64_t>(std::llround(value));
}

void add_options(cli::Invocation& in, Options& options) {
  media::CaptureOptions& capture = options.capture;
  in.app.add_option("--video", options.video, "v4l2:DEVICE, x11:DISPLAY, lavfi:GRAPH or file:PATH");
  in.app.add_option("--audio", options.audio, "alsa:DEVICE, pulse:SOURCE, lavfi:GRAPH or file:PATH");
  in.app.add_option("--size", capture.size, "picture size asked of the device, WIDTHxHEIGHT");
  in.app.add_option("--rate", capture.rate, "pictures per second asked of the device");
  in.app.add_option("--video-codec", capture.video_codec, "video encoder of libavcodec")->capture_default_str();
  in.app.add_option("--audio-codec", capture.audio_codec, "audio encoder of libavcodec")->capture_default_str();
  in.app.add_option("--video-bitrate", options.video_bitrate, "bits per second, as in 8M")->capture_default_str();
  in.app.add_option("--audio-bitrate", options.audio_bitrate, "bits per second, as in 192k")->capture_default_str();
  in.app.add_option("--preset", capture.preset, "preset of the video encoder")->capture_default_str();
  in.app.add_option("--duration", options.duration_seconds, "stop after this many seconds")
      ->check(CLI::Range(0.001, 31'536'000.0));
  in.app.add_option("--pace", capture.pace, "real-time, or none: files and lavfi as fast as possible")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, media::Pace>{{"real-time", media::Pace::real_time}, {"none", media::Pace::none}}))
      ->option_text("real-time|none");
  in.app.add_option("--recording-id", capture.recording_id, "id of the recording: 32 hexadecimal digits");
  in.app.add_option("--queue-mb", options.queue_mb, "encoded data that a slow reader may leave waiting, in megabytes")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  in.app.add_option("--control", options.control, "unix:PATH: wait in standby for commands on this socket");
  in.app
      .add_option("--preroll", options.preroll_seconds, "seconds of standby to keep for a start in the past; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 60.0));
  in.add_notify_fd();
}

Status finish_options(Options& options) {
  media::CaptureOptions& capture = options.capture;
  if (options.video.empty() && options.audio.empty()) {
    return fail(Error{ErrorKind::usage, "nothing to capture", 0, "give --video, --audio or both"});
  }
  if (!options.video.empty()) {
    MC_TRY_ASSIGN(capture.video, media::parse_device(options.video, media::StreamKind::picture));
  }
  if (!options.audio.empty()) {
    MC_TRY_ASSIGN(capture.audio, media::parse_device(options.audio, media::StreamKind::sound));
  }
  MC_TRY_ASSIGN(capture.video_bitrate, parse_bitrate(options.video_bitrate));
  MC_TRY_ASSIGN(capture.audio_bitrate, parse_bitrate(options.audio_bitrate));
  if (options.duration_seconds > 0) capture.duration_ns = std::llround(options.duration_seconds * 1e9);
  const std::string& id = capture.recording_id;
  if (!id.empty() && (id.size() != 32 || id.find_first_not_of("0123456789abcdef") != std::string::npos)) {
    return fail(ErrorKind::usage, "not a recording id: '" + id + "'");
  }
  if (!options.control.empty()) capture.begin = media::Begin::when_told;
  if (!options.control.empty() && capture.pace == media::Pace::none) {
    return fail(ErrorKind::usage, "--control and --pace none exclude each other");
  }
  capture.preroll_ns = std::llround(options.preroll_seconds * 1e9);
  capture.queue_bytes = options.queue_mb * 1'000'000;
  return {};
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Options options;
  add_options(in, options);
  in.parse();
  if (in.json()) {
    return fail(Error{ErrorKind::usage, "--json has no place here: stdout carries the media", 0, "see man mc-capture"});
  }
  MC_TRY(finish_options(options));
  MC_TRY(in.check_binary_stdout(false));
  options.capture.log = in.log();
  options.capture.stop_fd = in.stop.stop_fd();
  std::optional<Control> control;
  if (!options.control.empty()) {
    MC_TRY_ASSIGN(control, Control::open(options.control));
  }
  MC_TRY_ASSIGN(const auto capture, media::Capture::open(options.capture));

  cli::Progress line(in);
  Status notified;
  std::uint64_t told_drops = 0;
  media::CaptureHooks hooks;
  hooks.ready = [&] { notified = sys::notify_ready(in.notify_fd(), "ready"); };
  const auto tell_drops = [&](const media::CaptureProgress& now) {
    if (now.dropped_packets > 0 && told_drops == 0)
      in.log()(LogLevel::warning, "the reader of stdout is too slow: packets are dropped");
    told_drops = now.dropped_packets;
  };
  if (control) {
    control->attach(*capture);
    hooks.wait = [&](int timeout_ms) { return control->serve(timeout_ms); };
  }
  hooks.progress = [&](const media::CaptureProgress& now) {
    tell_drops(now);
    if (control) control->tell_status(now);
    line.show(fmt::format("{}  {} pictures, {} sound frames{}", cli::human_duration(now.seconds), now.video_frames,
                          now.audio_frames,
                          now.dropped_packets > 0 ? fmt::format(", {} dropped", now.dropped_packets) : ""));
  };
  const auto ended = capture->run(STDOUT_FILENO, hooks);
  if (control && !ended) control->tell_error(ended.error());
  MC_TRY_ASSIGN(const media::CaptureProgress total, ended);
  if (control) control->tell_stopped(total);
  line.clear();
  tell_drops(total);
  MC_TRY(notified);
  in.log()(LogLevel::debug, fmt::format("{} pictures, {} sound frames, {} packets dropped", total.video_frames,
                                        total.audio_frames, total.dropped_packets));
  return cli::kDone;
}

}  // namespace mc::tool_capture
