// The three programs that record a take, mc-capture | mc-mux | mc-spool write, as one thing that is started, told, and
// seen ending.
//
//   Pipeline pipeline(options);
//   MC_TRY(pipeline.start_capture());                 // its devices open; it says `standby`
//   MC_TRY(pipeline.start_storing(directory, path));  // the other two; before anything is written
//   pipeline.begin(t0_ns, clock);                     // again and again does no harm
//   pipeline.end(t1_ns);
//   … poll what add_to(wanted) adds, then pipeline.look() …
//   if (pipeline.state() == Pipeline::State::over) …
//
// When one of the three dies, those before it in the pipe are killed, for nobody takes what they make, and those behind
// it find the end of their input, make durable what came, and end; who does not within 30 seconds is killed. Then the
// pipeline is over, and may be started again.
//
// The capture is told over its socket (mc-capture(1), CONTROL) and not by its parent's death: when the supervisor is
// killed, the three go on. adopt() finds such a capture; the pipeline is over when the capture is. One in standby is
// not worth that, and is ended.
//
// One thread.
#pragma once

#include <poll.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rig/line_socket.hpp"
#include "rig/order.hpp"
#include "sys/process.hpp"

namespace mc::rig {

struct PipelineOptions {
  std::string socket_path;           // of the capture
  std::vector<std::string> capture;  // its arguments
  std::string log_path;
  int log_fd = -1;  // of that file, stderr of the three; borrowed
};

// What the capture said last, once a second.
struct CaptureStatus {
  std::int64_t recorded_ms = 0;
  std::uint64_t seen = 0;  // frames that came from the devices, kept or not
  std::optional<double> sound_peak_db;
  std::optional<std::int64_t> encoder_load_percent;
  std::uint64_t dropped_packets = 0;
};

class Pipeline {
 public:
  enum class State : std::uint8_t { over, opening, standby, recording };

  explicit Pipeline(PipelineOptions options) : options_(std::move(options)) {}

  // A capture that an earlier supervisor left. Whether there is one.
  bool adopt();
  Status start_capture();
  // `path` is SESSION/TAKE/GUEST. Of an adopted capture, and when they run already: nothing.
  Status start_storing(const std::string& directory, const std::string& path);
  bool is_storing() const { return is_adopted_ || programs_[kSpool].has_value(); }
  void begin(std::int64_t t0_ns, const ClockReading& clock);
  void tell_clock(const ClockReading& clock);  // by which the recording's time goes on
  void end(std::optional<std::int64_t> t1_ns);
  // Asks politely first, SIGTERM; a second call kills.
  void break_off();

  void add_to(std::vector<pollfd>& wanted) const;
  void look();

  State state() const { return state_; }
  const CaptureStatus& status() const { return status_; }
  std::int64_t status_at_ns() const { return status_at_ns_; }    // monotonic; when frames were seen to come last
  const std::string& last_words() const { return last_words_; }  // why it ended, for people; empty: as it was told to
  json::object pids() const;

 private:
  enum Place : std::uint8_t { kCapture, kMux, kSpool, kPlaces };
  void connect();
  void hear(const json::object& message);
  void look_at_ends();
  void finish();
  std::string last_error() const;

  PipelineOptions options_;
  State state_ = State::over;
  std::array<std::optional<sys::Process>, kPlaces> programs_;
  sys::Fd media_;  // what the capture writes, until somebody reads it
  bool is_adopted_ = false;
  sys::Fd adopted_;  // the capture that is none of our children
  LineSocket capture_;
  bool was_told_ = false;  // to end
  bool broken_off_ = false;
  CaptureStatus status_;
  std::int64_t status_at_ns_ = 0;
  std::int64_t kill_at_ns_ = 0;  // 0: nobody is to be killed
  std::string last_words_;
  std::uint64_t log_begin_ = 0;  // where in the log this run begins
};

}  // namespace mc::rig
