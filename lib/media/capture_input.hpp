// One device (or file) of a capture and its thread's work. Internal to this module.
//
//   CaptureInput::open(…)      in the main thread: the device, its decoder, filters and encoders
//   run(control)               in a thread of its own, until a stop, its end, or its loss
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "media/capture_options.hpp"
#include "media/lane.hpp"

namespace mc::media {

// What the threads of a capture share: the stop, and how far each input is, so that without pacing none runs ahead.
class CaptureControl {
 public:
  explicit CaptureControl(std::size_t inputs) : positions_ns_(inputs, 0) {}

  void stop();
  bool stopped() const { return stopped_.load(); }
  // False when stopped meanwhile. Times of `clock`'s monotonic kind.
  bool wait_until(const Clock& clock, std::int64_t monotonic_ns);
  // Input `index` is at `position_ns`: waits until the others are no more than half a second behind.
  bool wait_for_others(std::size_t index, std::int64_t position_ns);
  void leave(std::size_t index);  // its position holds nobody back any more

 private:
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::int64_t> positions_ns_;
};

enum class Want : std::uint8_t { no, if_present, required };

class CaptureInput {
 public:
  // What is `required` and not there is an error; what is wanted `if_present` is not. Kinds: not_found (no such device
  // or file), permission, usage (a graph that cannot be understood), config (its encoder), damaged.
  static Result<std::unique_ptr<CaptureInput>> open(const DeviceSpec& device, Want picture, Want sound,
                                                    const CaptureOptions& options);

  const DeviceSpec& device() const { return device_; }
  std::vector<std::unique_ptr<Lane>>& lanes() { return lanes_; }

  // How it came to its end: success is an end that was asked for (a stop, the duration, the end of a file); an error is
  // the loss of the device. The encoders are flushed in either case. `start_ns` is the monotonic time of t0.
  Status run(CaptureControl& control, std::size_t index, std::int64_t start_ns);

 private:
  CaptureInput(DeviceSpec device, const CaptureOptions& options);
  Status open_format(const CaptureOptions& options);
  Status read(CaptureControl& control, std::size_t index, std::int64_t start_ns);
  bool all_done() const;

  DeviceSpec device_;
  Pace pace_;
  const Clock& clock_;
  FormatPtr format_;
  std::int64_t origin_us_ = 0;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::shared_ptr<std::atomic<bool>> interrupted_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace mc::media
