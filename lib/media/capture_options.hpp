// What a capture is asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "media/stream.hpp"

namespace mc::media {

enum class Backend : std::uint8_t { v4l2, x11, alsa, pulse, lavfi, file };

// "v4l2:/dev/video0", "x11::0.0+100,200", "alsa:default", "pulse:default", "lavfi:testsrc2=rate=30", "file:clip.mp4".
struct DeviceSpec {
  Backend backend = Backend::lavfi;
  std::string address;  // behind the first colon
  std::string text;     // the whole
  // Has a clock of its own and cannot wait.
  bool is_live() const { return backend != Backend::lavfi && backend != Backend::file; }
};
// Kind usage: an unknown backend, one that has no such streams, or no address.
Result<DeviceSpec> parse_device(std::string_view text, StreamKind kind);

enum class Pace : std::uint8_t {
  real_time,  // as a device would give it
  none,       // files and synthetic sources as fast as they can be encoded
};

enum class Begin : std::uint8_t {
  at_once,
  when_told,  // Capture::start; until then the devices and encoders run, and nothing is written
};

struct CaptureOptions {
  std::optional<DeviceSpec> video, audio;  // one at least
  std::string video_codec = "libx264";     // encoders of libavcodec, by their names
  std::string audio_codec = "aac";
  std::int64_t video_bitrate = 8'000'000;  // per second
  std::int64_t audio_bitrate = 192'000;
  std::string preset = "veryfast";  // of the video encoder, where it has any
  std::string size;                 // "1280x720": asked of the device
  std::string rate;                 // "30" or "30000/1001", likewise
  std::optional<std::int64_t> duration_ns;
  Begin begin = Begin::at_once;
  std::int64_t preroll_ns = 5'000'000'000;  // of standby that is kept, for a start in the past
  Pace pace = Pace::real_time;
  std::string recording_id;                // empty: not said
  std::uint64_t queue_bytes = 60'000'000;  // of encoded packets that a slow reader may leave behind: 60 s at 8 Mb/s
  int stop_fd = -1;                        // readable: stop, as by a signal
  Log log = no_log();
  const Clock* clock = &system_clock();
};

}  // namespace mc::media
