// The picture of a capture. Internal to this module; see lane.hpp.
#pragma once

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
  std::int64_t ticks_of(std::int64_t encoder_pts) override { return encoder_pts; }

 private:
  // A frame in the encoder's format: the same one, or converted.
  Result<AVFrame*> convert(AVFrame* frame);
  Status build_filters(const AVFrame& frame);

  std::optional<FilterChain> filters_;
  int filtered_width_ = 0, filtered_height_ = 0, filtered_format_ = -1;
  FramePtr converted_;
  std::optional<std::int64_t> last_ticks_;
  std::int64_t second_ = -1;  // of the timeline, that the last key frame was asked for
  std::uint32_t key_frames_wanted_ = 0;
};

}  // namespace mc::media
