// A capture from its devices to a NUT stream (mc-capture(1), mc-nut(5)).
//
//   MC_TRY_ASSIGN(auto capture, Capture::open(options));    // every device is open, every encoder too
//   MC_TRY_ASSIGN(auto end, capture->run(fd, hooks));       // until a stop, the duration, or the end of all inputs
//
// With options.begin == when_told the devices run in standby and nothing is written until start(), which a hook calls:
// then what is on the session clock at t0 or behind it is kept, to the frame and to the sample. For a t0 in the past
// the last options.preroll_ns of standby are there, the picture encoded: it begins with its first key frame at t0 or
// behind it, of which there is one each half second, and sound at the sample. Pictures and samples together take
// options.queue_bytes at most. A device that ends in standby ends the capture, for nothing is lost yet by opening it
// again.
//
// Threads: one per device (it reads, decodes, converts and encodes), one that writes, and the caller's, which watches
// over them. A slow reader of the NUT stream never holds a device back: encoded packets wait in a queue of
// options.queue_bytes, and what does not fit is dropped, counted, and told by a gap event.
//
// Events in band: `start` first; `clock` then and every minute; `gap`; `drift`; `device-lost`; `end` last, only when
// the end was asked for. Any end of a device that nobody asked for is its loss: the others go on.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "media/capture_options.hpp"

namespace mc::media {

struct SessionReading {
  std::int64_t offset_ns = 0;  // session time minus CLOCK_MONOTONIC
  std::int64_t bound_us = 0;   // how far the offset may be off
};
struct CaptureStart {
  std::int64_t t0_ns = 0;  // session time
  SessionReading clock;
};
struct CaptureLevels {
  std::optional<double> sound_peak;              // since asked last, 1 = full scale
  std::uint64_t video_seen = 0, sound_seen = 0;  // frames that came, kept or not
  std::int64_t encoding_ns = 0;                  // that the busiest encoder was at work, all in all
};
struct CaptureProgress {
  double seconds = 0;
  std::uint64_t video_frames = 0, audio_frames = 0;
  std::uint64_t dropped_packets = 0;
  std::uint64_t queued_bytes = 0;
};
struct CaptureHooks {
  std::function<void()> ready;  // the threads run
  // Waits for as long, or less when something is to be done: in place of a sleep. May call what `run` says.
  std::function<Status(int timeout_ms)> wait;
  std::function<void(const CaptureProgress&)> progress;  // some times a second, in the caller's thread
};

class Capture {
 public:
  // Kinds: as CaptureInput::open.
  static Result<std::unique_ptr<Capture>> open(const CaptureOptions& options);
  ~Capture();

  // Kinds: io (all devices are lost, or the output cannot be written), not_found (ended, and not a frame came).
  Result<CaptureProgress> run(int out_fd, const CaptureHooks& hooks);

  // From a hook of run(), in its thread.
  // Begins to write. A t0 further in the past than what standby kept: with the oldest of it, later on the same
  // timeline. Kinds: refused (it has begun), io (a device has just been lost).
  Status start(const CaptureStart& start);
  // What is known of the session clock by now: the recording's time follows it. Before start() it says nothing.
  void follow(const SessionReading& clock);
  // Ends with what lies before `t1_ns` (session time; nothing: now). In standby: ends, without output.
  void stop(std::optional<std::int64_t> t1_ns);
  void want_key_frame();
  CaptureLevels take_levels();

 private:
  struct Shared;
  explicit Capture(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<Shared> shared_;  // threads that hang in a dead device keep it alive
};

}  // namespace mc::media
