// One stream of a captured input, from its packets to encoded ones: decode, convert, stamp, encode. Internal to this
// module. A lane belongs to the thread of its input.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/json.hpp"
#include "media/av_ptr.hpp"
#include "media/capture_options.hpp"
#include "media/packet_queue.hpp"
#include "media/sound_clock.hpp"
#include "media/stream.hpp"
#include "media/timeline.hpp"

namespace mc::media {

// Where lanes put what they make. Must outlive them; safe from any thread.
struct LaneOutput {
  PacketQueue* queue = nullptr;
  const Timeline* timeline = nullptr;  // not armed: what comes is looked at and left out
  // Counts up: a key frame is wanted now.
  const std::atomic<std::uint32_t>* key_frames_wanted = nullptr;
  std::uint32_t events_stream = 0;
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
  // From any thread: how many frames came, how many went into the encoder, for how long it had them, and how far the
  // timeline is covered.
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
  // The time of an encoded packet in ticks of the output stream.
  virtual std::int64_t ticks_of(std::int64_t encoder_pts) = 0;
  Status encode(const AVFrame* frame);
  // `pts` of the input, in ticks of `timescale` on the timeline; live devices by their own clocks.
  std::int64_t ticks_at(std::int64_t pts, std::uint32_t timescale) const;
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
  CodecPtr decoder_;
  CodecPtr encoder_;
  AVRational input_base_{1, 1};

 private:
  std::atomic<std::uint64_t> seen_{0}, frames_{0};
  std::atomic<std::int64_t> encoding_ns_{0};
  std::atomic<std::int64_t> last_ns_{0};

  Status open_decoder(const AVStream& stream);
  Status send(const AVPacket* packet);

  int input_index_ = 0;
  std::int64_t origin_us_ = 0;
  std::int64_t suspended_seen_ns_ = 0;
  FramePtr decoded_;
  PacketPtr encoded_;
};

}  // namespace mc::media
