// The picture of a capture. Internal to this module; see lane.hpp.
//
// The encoder's time is that of standby, without a jump at the start: `shift_` takes it to the timeline. The first
// packet that goes out is a key frame at t0 or behind it. When the standby kept one, the recording begins with what was
// captured before it was told; else the next frame at t0 or behind it is asked to be one. An encoder that does not obey
// (SVT-AV1) would begin seconds late: it is opened anew, for its first frame is a key frame, and then stays cold until
// t0. Standby finds out; an encoder that has not shown by t0 that it obeys is opened anew as well.
#pragma once

#include <functional>
#include <optional>

#include "media/filter_chain.hpp"
#include "media/lane.hpp"

namespace mc::media {

class PictureLane : public Lane {
 public:
  static Result<std::unique_ptr<Lane>> open(const AVStream& stream, const DeviceSpec& device,
                                            const CaptureOptions& options);

 protected:
  using Lane::Lane;
  Status take(AVFrame* frame) override;
  Status begin() override;
  void bound_standby(std::int64_t span_ticks, std::uint64_t limit_bytes) override {
    standby_.set_bounds(span_ticks, limit_bytes);
  }
  std::int64_t ticks_of(std::int64_t encoder_pts) override { return encoder_pts + shift_; }
  void deliver(QueuedPacket packet) override;

 private:
  Status stand_by(AVFrame* frame, std::int64_t ticks);
  Status record(AVFrame* frame, std::int64_t ticks);
  Status encode_at(AVFrame* frame, std::int64_t ticks, bool key);
  Status reopen();
  // A frame in the encoder's format: the same one, or converted.
  Result<AVFrame*> convert(AVFrame* frame);
  Status build_filters(const AVFrame& frame);

  std::optional<FilterChain> filters_;
  int filtered_width_ = 0, filtered_height_ = 0, filtered_format_ = -1;
  FramePtr converted_;
  std::function<Result<CodecPtr>()> open_encoder_;
  Log log_;
  StandbyRing<QueuedPacket> standby_;
  bool opened_ = false;  // a packet has gone out
  bool is_cold_ = true;  // the encoder's next frame is its first
  enum class Obeys : std::uint8_t { unknown, yes, no };
  Obeys obeys_ = Obeys::unknown;           // makes key frames where it is asked to
  std::optional<std::int64_t> asked_key_;  // that will show it
  std::int64_t shift_ = 0;
  std::optional<std::int64_t> last_ticks_;
  std::int64_t second_ = -1;       // of the timeline, that the last key frame was asked for
  std::int64_t half_second_ = -1;  // of standby, likewise
  std::uint32_t key_frames_wanted_ = 0;
};

}  // namespace mc::media
