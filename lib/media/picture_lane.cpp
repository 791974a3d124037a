#include "media/picture_lane.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

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
  lane->open_encoder_ = [options, format] { return open_picture_encoder(options, format); };
  lane->log_ = options.log;
  MC_TRY_ASSIGN(lane->encoder_, lane->open_encoder_());
  lane->stream_ = stream_of(*lane->encoder_);
  if (rate.num > 0) lane->stream_.nominal_ticks = av_rescale_q(1, av_inv_q(rate), {1, 90000});
  lane->converted_.reset(av_frame_alloc());
  return lane;
}

Status PictureLane::take(AVFrame* frame) {
  if (frame == nullptr || (frame->best_effort_timestamp == AV_NOPTS_VALUE && !live_)) return {};
  const std::int64_t stamp = stamp_of(*frame);
  return recording_ ? record(frame, ticks_at(stamp)) : stand_by(frame, standby_ticks(stamp));
}

Status PictureLane::stand_by(AVFrame* frame, std::int64_t ticks) {
  if (was_suspended()) {  // how far the monotonic time from before is from the session's now, nobody knows
    standby_.clear();
    half_second_ = -1;
  }
  if (obeys_ == Obeys::no) return {};
  const std::int64_t half_second = ticks / (timescale_ / 2);
  const bool key = half_second != half_second_;
  half_second_ = half_second;
  MC_TRY(encode_at(frame, ticks, key));
  if (obeys_ != Obeys::no) return {};
  log_(LogLevel::warning, std::string("the encoder '") + encoder_->codec->name +
                              "' takes no request for a key frame: no picture from before the start is kept");
  return reopen();
}

Status PictureLane::begin() {
  shift_ = standby_zero();
  if (last_ticks_) *last_ticks_ += shift_;
  if (asked_key_) *asked_key_ += shift_;
  while (!standby_.empty()) {
    QueuedPacket packet = standby_.pop();
    packet.pts += shift_;
    deliver(std::move(packet));
  }
  // With a key frame to lean on, the next one is that of the next whole second.
  if (opened_) second_ = (*last_ticks_ - t0_ticks()) / timescale_;
  return {};
}

Status PictureLane::record(AVFrame* frame, std::int64_t ticks) {
  if (const auto end = output_.timeline->end_ticks(timescale_); end && ticks >= *end) {
    done_ = true;
    return {};
  }
  const std::int64_t zero = t0_ticks();
  if (ticks < zero) return stand_by(frame, ticks);
  if (second_ < 0 && obeys_ != Obeys::yes && !is_cold_) MC_TRY(reopen());
  if (live_ && was_suspended() && opened_) tell_gap("suspended", *last_ticks_ + stream_.nominal_ticks, ticks, 0);
  // What the source's own encoder chose is not for ours; only a new second asks for a key frame.
  const std::int64_t second = (ticks - zero) / timescale_;
  const std::uint32_t wanted = output_.key_frames_wanted->load(std::memory_order_relaxed);
  const bool key = second != second_ || wanted != key_frames_wanted_;
  key_frames_wanted_ = wanted;
  second_ = second;
  return encode_at(frame, ticks, key);
}

Status PictureLane::encode_at(AVFrame* frame, std::int64_t ticks, bool key) {
  if (last_ticks_) ticks = std::max(ticks, *last_ticks_ + 1);
  last_ticks_ = ticks;
  MC_TRY_ASSIGN(AVFrame * ready, convert(frame));
  ready->pts = ticks - shift_;
  ready->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
  ready->key_frame = key ? 1 : 0;
  // The first is a key frame in any case, which says nothing.
  if (key && !is_cold_ && second_ < 0 && obeys_ == Obeys::unknown && !asked_key_) asked_key_ = ticks;
  is_cold_ = false;
  const Status encoded = encode(ready);
  av_frame_unref(converted_.get());
  return encoded;
}

void PictureLane::deliver(QueuedPacket packet) {
  const std::int64_t ticks = packet.pts;
  if (asked_key_ && ticks >= *asked_key_) {
    if (ticks == *asked_key_) obeys_ = packet.key ? Obeys::yes : Obeys::no;
    asked_key_.reset();
  }
  if (!recording_) {
    const std::uint64_t bytes = packet.data.size();
    standby_.push(ticks, bytes, std::move(packet));
    return;
  }
  if (!opened_ && !(packet.key && ticks >= t0_ticks())) return;
  const auto end = output_.timeline->end_ticks(timescale_);
  if (end && ticks >= *end) return;
  opened_ = true;
  put(std::move(packet));
}

Status PictureLane::reopen() {
  standby_.clear();
  asked_key_.reset();
  encoder_.reset();
  MC_TRY_ASSIGN(encoder_, open_encoder_());
  is_cold_ = true;
  return {};
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
