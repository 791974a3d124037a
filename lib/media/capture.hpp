// A capture from its devices to a NUT stream (mc-capture(1), mc-nut(5)).
//
//   MC_TRY_ASSIGN(auto capture, Capture::open(options));    // every device is open, every encoder too
//   MC_TRY_ASSIGN(auto end, capture->run(fd, hooks));       // until a stop, the duration, or the end of all inputs
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
#include <string>
#include <vector>

#include "base/error.hpp"
#include "media/capture_options.hpp"

namespace mc::media {

struct CaptureProgress {
  double seconds = 0;
  std::uint64_t video_frames = 0, audio_frames = 0;
  std::uint64_t dropped_packets = 0;
  std::uint64_t queued_bytes = 0;
};
struct CaptureHooks {
  std::function<void()> ready;                           // t0 is set, the threads run
  std::function<void(const CaptureProgress&)> progress;  // some times a second, in the caller's thread
};

class Capture {
 public:
  // Kinds: as CaptureInput::open.
  static Result<std::unique_ptr<Capture>> open(const CaptureOptions& options);
  ~Capture();

  // Kinds: io (all devices are lost, or the output cannot be written), not_found (ended, and not a frame came).
  Result<CaptureProgress> run(int out_fd, const CaptureHooks& hooks);

 private:
  struct Shared;
  explicit Capture(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<Shared> shared_;  // threads that hang in a dead device keep it alive
};

}  // namespace mc::media
