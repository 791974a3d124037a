// The socket of `mc-capture --control` (mc-capture(1), CONTROL): one JSON object a line both ways, one peer at a time,
// the newest. Never waits for a peer, and the loss of one is nothing but that. Belongs to the thread of Capture::run.
//
//   MC_TRY_ASSIGN(auto control, Control::open("unix:PATH"));
//   control.attach(capture);
//   hooks.wait = [&](int timeout_ms) { return control.serve(timeout_ms); };
//   hooks.progress = [&](const auto& now) { control.tell_status(now); };
//   control.tell_end(…);
#pragma once

#include <optional>
#include <string>

#include "base/json.hpp"
#include "media/capture.hpp"
#include "sys/fd.hpp"
#include "sys/lock.hpp"

namespace mc::tool_capture {

class Control {
 public:
  // Listens there. Kinds: usage (not unix:PATH), unavailable (another capture listens there).
  static Result<Control> open(const std::string& address);
  Control(Control&&) = default;
  Control& operator=(Control&&) = default;
  ~Control();  // removes the socket

  void attach(media::Capture& capture) { capture_ = &capture; }
  // Takes connections and obeys, for as long; returns early when there was something.
  Status serve(int timeout_ms);
  // Once a second.
  void tell_status(const media::CaptureProgress& now);
  void tell_stopped(const media::CaptureProgress& total);
  void tell_error(const Error& error);

 private:
  Control(std::string path, sys::FileLock lock, sys::Fd listener)
      : path_(std::move(path)), lock_(std::move(lock)), listener_(std::move(listener)) {}
  void greet();
  void receive();
  void obey(const std::string& line);
  Status start(const json::object& request);
  Status stop(const json::object& request);
  void tell(const json::object& object);

  std::string path_;
  sys::FileLock lock_;
  sys::Fd listener_;
  sys::Fd peer_;
  std::string asked_;  // by the peer, up to its next newline
  media::Capture* capture_ = nullptr;
  std::optional<media::CaptureStart> started_;
  std::int64_t next_status_ns_ = 0;
  std::int64_t last_status_ns_ = 0, last_encoding_ns_ = 0;
};

}  // namespace mc::tool_capture
