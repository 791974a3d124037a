#include "media/picture_lane.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "media/encoder.hpp"

extern "C" {
#include <libavutil/mathematics.h>
#include <libavutil/pixdesc.h>
}

namespace mc::media {
namespace {

// The interval that a source promises, or 0: a file's average says nothing about its frames unless it is also the
// smallest interval that was found.
AVRational declared_rate(const AVStream& stream, Backend backend) {
  // A synthetic source ticks once per frame.
  if (backend == Backend::lavfi)
    return av_q2d(stream.time_base) > 1.0 / 500 ? av_inv_q(stream.time_base) : AVRational{0, 1};
  const AVRational average = stream.avg_frame_rate, base = stream.r_frame_rate;
  if (average.num <= 0 || average.den <= 0) return base.num > 0 && base.den > 0 ? base : AVRational{0, 1};
  if (base.num > 0 && base.den > 0 && std::abs(av_q2d(average) / av_q2d(base) - 1) > 0.01) return {0, 1};
  return base.num > 0 && base.den > 0 ? base : average;
}

}  // namespace

Result<std::unique_ptr<Lane>> PictureLane::open(const AVStream& stream, const DeviceSpec& device,
                                                const CaptureOptions& options) {
  std::unique_ptr<PictureLane> lane(new PictureLane(stream, device, options));
  const AVCodecParameters& input = *stream.codecpar;
  const AVRational rate = declared_rate(stream, device.backend);
  PictureFormat format;
  format.width = input.width & ~1;  // 4:2:0 has no odd sizes
  format.height = input.height & ~1;
  if (format.width <= 0 || format.height <= 0)
    return fail(ErrorKind::damaged, "'" + device.text + "' has no picture size");
  format.sample_aspect = input.sample_aspect_ratio;
  format.rate = rate.num > 0 ? rate : stream.avg_frame_rate;
  MC_TRY_ASSIGN(lane->encoder_, open_picture_encoder(options, format));
  lane->stream_ = stream_of(*lane->encoder_);
  if (rate.num > 0) lane->stream_.nominal_ticks = av_rescale_q(1, av_inv_q(rate), {1, 90000});
  lane->converted_.reset(av_frame_alloc());
  return lane;
}

Status PictureLane::take(AVFrame* frame) {
  if (frame == nullptr || !output_.timeline->is_armed()) return {};
  const std::int64_t input_pts = frame->best_effort_timestamp;
  if (input_pts == AV_NOPTS_VALUE && !live_) return {};
  std::int64_t ticks = ticks_at(input_pts, timescale_);
  const std::int64_t zero = t0_ticks();
  if (ticks < zero) return {};
  if (const auto end = output_.timeline->end_ticks(timescale_); end && ticks >= *end) {
    done_ = true;
    return {};
  }
  if (last_ticks_) ticks = std::max(ticks, *last_ticks_ + 1);
  if (live_ && was_suspended() && last_ticks_) tell_gap("suspended", *last_ticks_ + stream_.nominal_ticks, ticks, 0);
  last_ticks_ = ticks;
  MC_TRY_ASSIGN(AVFrame * ready, convert(frame));
  ready->pts = ticks;
  // What the source's own encoder chose is not for ours; only a new second asks for a key frame.
  const std::int64_t second = (ticks - zero) / timescale_;
  const std::uint32_t wanted = output_.key_frames_wanted->load(std::memory_order_relaxed);
  const bool key = second != second_ || wanted != key_frames_wanted_;
  ready->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
  ready->key_frame = key ? 1 : 0;
  key_frames_wanted_ = wanted;
  second_ = second;
  const Status encoded = encode(ready);
  av_frame_unref(converted_.get());
  return encoded;
}

Result<AVFrame*> PictureLane::convert(AVFrame* frame) {
  if (frame->format == encoder_->pix_fmt && frame->width == encoder_->width && frame->height == encoder_->height)
    return frame;
  if (!filters_ || frame->width != filtered_width_ || frame->height != filtered_height_ ||
      frame->format != filtered_format_) {
    MC_TRY(build_filters(*frame));
  }
  frame->pts = 0;
  MC_TRY(filters_->push(frame));
  MC_TRY_ASSIGN(const bool came, filters_->pull(converted_.get()));
  if (!came) return fail(ErrorKind::bug, "no picture out of the converter");
  return converted_.get();
}

Status PictureLane::build_filters(const AVFrame& frame) {
  const char* from = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame.format));
  const std::string input = fmt::format("video_size={}x{}:pix_fmt={}:time_base=1/90000", frame.width, frame.height,
                                        from != nullptr ? from : "none");
  const std::string chain =
      fmt::format("scale={}:{},format={}", encoder_->width, encoder_->height, av_get_pix_fmt_name(encoder_->pix_fmt));
  MC_TRY_ASSIGN(filters_, FilterChain::open(AVMEDIA_TYPE_VIDEO, input, chain));
  filtered_width_ = frame.width;
  filtered_height_ = frame.height;
  filtered_format_ = frame.format;
  return {};
}

}  // namespace mc::media
