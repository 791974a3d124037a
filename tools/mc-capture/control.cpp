#include "mc-capture/control.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>

#include "base/clock.hpp"
#include "sys/local_socket.hpp"

namespace mc::tool_capture {
namespace {

constexpr std::size_t kMaxLineBytes = 4096;
constexpr std::int64_t kStatusEveryNs = 1'000'000'000;
constexpr std::int64_t kMaxMicroseconds = 9'000'000'000'000'000;  // of an offset: in nanoseconds it still fits

Result<media::SessionReading> parse_clock(const json::object& request) {
  const auto offset_us = json::get_int(request, "offset_us"), bound_us = json::get_int(request, "bound_us");
  if (!offset_us || std::abs(*offset_us) > kMaxMicroseconds) return fail(ErrorKind::usage, "no offset_us");
  if (!bound_us || *bound_us < 0 || *bound_us > kMaxMicroseconds) return fail(ErrorKind::usage, "no bound_us");
  return media::SessionReading{*offset_us * 1000, *bound_us};
}

}  // namespace

Result<Control> Control::open(const std::string& address) {
  const std::string scheme = "unix:";
  if (!address.starts_with(scheme) || address.size() == scheme.size()) {
    return fail(Error{ErrorKind::usage, "not a socket: '" + address + "'", 0, "give unix:PATH"});
  }
  std::string path = address.substr(scheme.size());
  auto lock = sys::FileLock::acquire(path + ".lock");
  if (!lock && lock.error().kind == ErrorKind::unavailable) {
    return fail(ErrorKind::unavailable, "another capture listens at '" + path + "'");
  }
  if (!lock) return fail(std::move(lock).error());
  MC_TRY_ASSIGN(sys::Fd listener, sys::listen_local(path));
  return Control(std::move(path), std::move(*lock), std::move(listener));
}

Control::~Control() {
  if (listener_.valid()) ::unlink(path_.c_str());
}

Status Control::serve(int timeout_ms) {
  std::array<pollfd, 2> wanted{{{listener_.get(), POLLIN, 0}, {peer_.get(), POLLIN, 0}}};
  if (::poll(wanted.data(), wanted.size(), timeout_ms) <= 0) return {};
  if (peer_.valid() && wanted[1].revents != 0) receive();
  if (wanted[0].revents == 0) return {};
  MC_TRY_ASSIGN(sys::Fd fd, sys::accept_local(listener_));
  if (!fd.valid()) return {};
  peer_ = std::move(fd);
  asked_.clear();
  greet();
  return {};
}

void Control::greet() {
  if (!started_) return tell({{"event", "standby"}});
  tell({{"event", "started"}, {"t0", format_utc(started_->t0_ns)}});
}

void Control::receive() {
  std::array<char, 4096> buffer{};
  const ssize_t n = ::recv(peer_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    peer_ = sys::Fd();
    return;
  }
  asked_.append(buffer.data(), static_cast<std::size_t>(n));
  for (std::size_t end = 0; peer_.valid() && (end = asked_.find('\n')) != std::string::npos;) {
    const std::string line = asked_.substr(0, end);
    asked_.erase(0, end + 1);
    obey(line);
  }
  if (asked_.size() <= kMaxLineBytes) return;
  tell({{"event", "error"}, {"error", "the line is too long"}});
  peer_ = sys::Fd();
}

void Control::obey(const std::string& line) {
  const auto request = json::parse_object(line);
  if (!request) return tell({{"event", "error"}, {"error", "not a JSON object"}});
  const std::string command = json::get_string(*request, "command").value_or("");
  Status done;
  if (command == "start") {
    done = start(*request);
  } else if (command == "stop") {
    done = stop(*request);
  } else if (command == "clock") {
    const auto clock = parse_clock(*request);
    if (clock) capture_->follow(*clock);
    done = clock ? Status{} : Status(fail(clock.error()));
  } else if (command == "keyframe") {
    capture_->want_key_frame();
    tell({{"event", "keyframe"}});
  } else {
    done = fail(ErrorKind::usage, "not a command: '" + command.substr(0, 40) + "'");
  }
  if (!done) tell({{"event", "error"}, {"command", command.substr(0, 40)}, {"error", done.error().message}});
}

Status Control::start(const json::object& request) {
  media::CaptureStart start;
  MC_TRY_ASSIGN(start.t0_ns, parse_utc(json::get_string(request, "t0").value_or("")));
  MC_TRY_ASSIGN(start.clock, parse_clock(request));
  // Whoever lost the answer asks again; the clock that was given first counts.
  if (!started_ || started_->t0_ns != start.t0_ns) {
    MC_TRY(capture_->start(start));
    started_ = start;
  }
  greet();
  return {};
}

Status Control::stop(const json::object& request) {
  std::optional<std::int64_t> t1_ns;
  if (request.contains("t1")) {
    MC_TRY_ASSIGN(t1_ns, parse_utc(json::get_string(request, "t1").value_or("")));
  }
  capture_->stop(t1_ns);
  json::object answer{{"event", "stopping"}};
  if (t1_ns) answer["t1"] = format_utc(*t1_ns);
  tell(answer);
  return {};
}

void Control::tell_status(const media::CaptureProgress& now) {
  const std::int64_t now_ns = system_clock().monotonic_ns();
  if (now_ns < next_status_ns_) return;
  next_status_ns_ = now_ns + kStatusEveryNs;
  const media::CaptureLevels levels = capture_->take_levels();
  json::object status{{"event", "status"}, {"state", started_ ? "started" : "standby"}};
  status["recorded_ms"] = static_cast<std::int64_t>(now.seconds * 1000);
  status["video_seen"] = levels.video_seen;
  status["audio_seen"] = levels.sound_seen;
  status["video_frames"] = now.video_frames;
  status["audio_frames"] = now.audio_frames;
  status["dropped_packets"] = now.dropped_packets;
  status["queued_bytes"] = now.queued_bytes;
  // Digital silence has no level.
  if (levels.sound_peak && *levels.sound_peak > 0) status["sound_peak_db"] = 20 * std::log10(*levels.sound_peak);
  if (last_status_ns_ > 0) {
    status["encoder_load_percent"] = (levels.encoding_ns - last_encoding_ns_) * 100 / (now_ns - last_status_ns_);
  }
  last_status_ns_ = now_ns;
  last_encoding_ns_ = levels.encoding_ns;
  tell(status);
}

void Control::tell_stopped(const media::CaptureProgress& total) {
  json::object stopped{{"event", "stopped"}};
  stopped["video_frames"] = total.video_frames;
  stopped["audio_frames"] = total.audio_frames;
  stopped["dropped_packets"] = total.dropped_packets;
  tell(stopped);
}

void Control::tell_error(const Error& error) { tell({{"event", "error"}, {"error", error.message}}); }

void Control::tell(const json::object& object) {
  if (!peer_.valid()) return;
  const std::string line = json::to_text(object) + "\n";
  const ssize_t sent = ::send(peer_.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  // A peer that does not read is no peer; half a line would be worse than none.
  if (sent != static_cast<ssize_t>(line.size())) peer_ = sys::Fd();
}

}  // namespace mc::tool_capture
