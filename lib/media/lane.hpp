// One stream of a captured input, from its packets to encoded ones: decode, convert, stamp, encode. Internal to this
// module. A lane belongs to the thread of its input.
//
// While the timeline is not armed, a lane is in standby: it keeps what comes for as long back as `preroll_ns` says,
// under the times of its source, for the timeline is not known yet. The picture is encoded for that, so that its
// encoder is warm, with a key frame each half second; sound is kept as samples. With the first packet behind the arming
// it begins: what lies on the timeline at t0 or behind it goes out, the picture from a key frame on, sound from the
// sample on.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/json.hpp"
#include "media/av_ptr.hpp"
#include "media/capture_options.hpp"
#include "media/packet_queue.hpp"
#include "media/sound_clock.hpp"
#include "media/standby_ring.hpp"
#include "media/stream.hpp"
#include "media/timeline.hpp"

namespace mc::media {

// Where lanes put what they make. Must outlive them; safe from any thread.
struct LaneOutput {
  PacketQueue* queue = nullptr;
  const Timeline* timeline = nullptr;
  // Counts up: a key frame is wanted now.
  const std::atomic<std::uint32_t>* key_frames_wanted = nullptr;
  std::uint32_t events_stream = 0;
  std::int64_t preroll_ns = 0;
  std::uint64_t preroll_bytes = 0;  // of each lane
  // An event at a time of the timeline, in band.
  void event(json::object object, std::int64_t at_ns) const;
};

class Lane {
 public:
  virtual ~Lane() = default;
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Opens decoder and encoder for `stream` of an opened input. Kinds as of the encoder.
  static Result<std::unique_ptr<Lane>> open(const AVStream& stream, const DeviceSpec& device,
                                            const CaptureOptions& options);

  const Stream& stream() const { return stream_; }
  int input_index() const { return input_index_; }
  // Its place in the output. Called once, before the first packet.
  void attach(const LaneOutput& output, std::uint32_t stream_index);
  // Where the input's time begins, in microseconds of its own: the timeline's source zero. Files only.
  void set_origin_us(std::int64_t origin_us) { origin_us_ = origin_us; }

  // A packet of this stream, or null at the end of the input, which flushes everything behind it.
  Status feed(const AVPacket* packet);
  bool done() const { return done_; }  // the timeline's end is reached
  // When no packet follows any more: the gap event of what was dropped behind the last one.
  void tell_last_loss();
  // From any thread: how many frames came, how many went out encoded, for how long the encoder had frames, and how far
  // the timeline is covered.
  std::uint64_t seen() const { return seen_.load(std::memory_order_relaxed); }
  std::uint64_t frames() const { return frames_.load(std::memory_order_relaxed); }
  std::int64_t encoding_ns() const { return encoding_ns_.load(std::memory_order_relaxed); }
  std::int64_t last_ns() const { return last_ns_.load(std::memory_order_relaxed); }
  // The loudest sample since it was asked last, 1 = full scale; nothing: none came.
  virtual std::optional<double> take_peak() { return std::nullopt; }

 protected:
  Lane(const AVStream& stream, const DeviceSpec& device, const CaptureOptions& options);
  // A decoded frame, or null at the end.
  virtual Status take(AVFrame* frame) = 0;
  // The end of standby: the timeline is armed, and this is the time of what was kept.
  virtual Status begin() = 0;
  virtual void bound_standby(std::int64_t span_ticks, std::uint64_t limit_bytes) = 0;
  // The time of an encoded packet in ticks of the output stream.
  virtual std::int64_t ticks_of(std::int64_t encoder_pts) = 0;
  virtual void deliver(QueuedPacket packet) { put(std::move(packet)); }
  Status encode(const AVFrame* frame);
  void put(QueuedPacket packet);  // into the queue
  // When a frame was captured, by its source's own time: of a live device its monotonic time in nanoseconds, of others
  // ticks of the input.
  std::int64_t stamp_of(const AVFrame& frame) const;
  // The same in ticks of the output stream: on the timeline, or in standby from any zero of its own, which is on the
  // timeline later at standby_zero().
  std::int64_t ticks_at(std::int64_t stamp) const;
  std::int64_t standby_ticks(std::int64_t stamp) const;
  std::int64_t standby_zero() const;
  std::int64_t t0_ticks() const { return output_.timeline->t0_ticks(timescale_); }
  // Has the machine been suspended since it was asked last?
  bool was_suspended();
  void tell_gap(const char* reason, std::int64_t from, std::int64_t to, std::uint64_t packets);

  Stream stream_;
  LaneOutput output_;
  std::uint32_t stream_index_ = 0;
  std::uint32_t timescale_ = 1;  // of the output stream
  const Clock& clock_;
  bool live_ = false;
  bool may_wait_ = false;
  bool done_ = false;
  bool recording_ = false;  // no standby any more
  CodecPtr decoder_;
  CodecPtr encoder_;
  AVRational input_base_{1, 1};

 private:
  std::atomic<std::uint64_t> seen_{0}, frames_{0};
  std::atomic<std::int64_t> encoding_ns_{0};
  std::atomic<std::int64_t> last_ns_{0};

  Status open_decoder(const AVStream& stream);
  void send(const AVPacket* packet);

  int input_index_ = 0;
  std::int64_t origin_us_ = 0;
  std::int64_t suspended_seen_ns_ = 0;
  FramePtr decoded_;
  PacketPtr encoded_;
};

}  // namespace mc::media
