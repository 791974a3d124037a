#include "media/sound_lane.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "media/av_error.hpp"
#include "media/encoder.hpp"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>
#include <libavutil/samplefmt.h>
}

namespace mc::media {
namespace {

constexpr std::int64_t kDriftEverySeconds = 1;

std::string layout_name(const AVChannelLayout& layout) {
  AVChannelLayout named{};
  // A device says how many channels there are, seldom which.
  if (layout.order == AV_CHANNEL_ORDER_UNSPEC) {
    av_channel_layout_default(&named, layout.nb_channels);
  } else {
    av_channel_layout_copy(&named, &layout);
  }
  char text[128] = {};
  av_channel_layout_describe(&named, text, sizeof text);
  av_channel_layout_uninit(&named);
  return text;
}

// Drops the first `count` samples.
void skip_front(AVFrame& frame, int count) {
  const auto format = static_cast<AVSampleFormat>(frame.format);
  const bool planar = av_sample_fmt_is_planar(format) != 0;
  const int planes = planar ? frame.ch_layout.nb_channels : 1;
  const int bytes = count * av_get_bytes_per_sample(format) * (planar ? 1 : frame.ch_layout.nb_channels);
  for (int i = 0; i < planes; ++i) {
    frame.extended_data[i] += bytes;
    if (i < AV_NUM_DATA_POINTERS && frame.extended_data != frame.data) frame.data[i] += bytes;
  }
  frame.nb_samples -= count;
}

template <typename Sample>
double peak_of(const AVFrame& frame, double full_scale) {
  const bool planar = av_sample_fmt_is_planar(static_cast<AVSampleFormat>(frame.format)) != 0;
  const int planes = planar ? frame.ch_layout.nb_channels : 1;
  const int count = frame.nb_samples * (planar ? 1 : frame.ch_layout.nb_channels);
  double peak = 0;
  for (int plane = 0; plane < planes; ++plane) {
    const auto* samples = reinterpret_cast<const Sample*>(frame.extended_data[plane]);
    for (int i = 0; i < count; ++i) peak = std::max(peak, std::abs(static_cast<double>(samples[i])));
  }
  return peak / full_scale;
}

// The loudest sample, 1 = full scale; below 0: of a format that no device gives.
double peak_of(const AVFrame& frame) {
  switch (av_get_packed_sample_fmt(static_cast<AVSampleFormat>(frame.format))) {
    case AV_SAMPLE_FMT_S16: return peak_of<std::int16_t>(frame, 32768);
    case AV_SAMPLE_FMT_S32: return peak_of<std::int32_t>(frame, 2147483648.0);
    case AV_SAMPLE_FMT_FLT: return peak_of<float>(frame, 1);
    case AV_SAMPLE_FMT_DBL: return peak_of<double>(frame, 1);
    default: return -1;
  }
}

}  // namespace

Result<std::unique_ptr<Lane>> SoundLane::open(const AVStream& stream, const DeviceSpec& device,
                                              const CaptureOptions& options) {
  std::unique_ptr<SoundLane> lane(new SoundLane(stream, device, options));
  const AVCodecParameters& input = *stream.codecpar;
  MC_TRY_ASSIGN(lane->encoder_, open_sound_encoder(options, input.sample_rate, input.ch_layout.nb_channels));
  lane->stream_ = stream_of(*lane->encoder_);
  lane->clock_.emplace(device.is_live() ? ClockKind::device : ClockKind::samples,
                       static_cast<std::uint32_t>(lane->encoder_->sample_rate));
  lane->converted_.reset(av_frame_alloc());
  return lane;
}

std::optional<double> SoundLane::take_peak() {
  const double peak = peak_.exchange(-1);
  return peak < 0 ? std::nullopt : std::optional(peak);
}

std::int64_t SoundLane::ticks_of(std::int64_t encoder_pts) { return clock_->at(encoder_pts); }

bool SoundLane::trim(AVFrame& frame, std::int64_t& ticks) {
  const std::int64_t zero = t0_ticks();
  const auto to_input = [this](std::int64_t n) { return av_rescale(n, input_rate_, timescale_); };
  if (ticks < zero) {
    const std::int64_t early = std::min<std::int64_t>(to_input(zero - ticks), frame.nb_samples);
    skip_front(frame, static_cast<int>(early));
    ticks = zero;
  }
  if (const auto end = output_.timeline->end_ticks(timescale_)) {
    const std::int64_t left = std::max<std::int64_t>(to_input(*end - ticks), 0);
    if (left <= frame.nb_samples) {
      frame.nb_samples = static_cast<int>(left);
      done_ = true;
    }
  }
  return frame.nb_samples > 0;
}

Status SoundLane::take(AVFrame* frame) {
  if (frame == nullptr) {
    if (!filters_) return {};
    MC_TRY(filters_->push(nullptr));
    return drain();
  }
  peak_ = std::max(peak_.load(), peak_of(*frame));
  if (frame->best_effort_timestamp == AV_NOPTS_VALUE && !live_) return {};
  const std::int64_t stamp = stamp_of(*frame);
  return recording_ ? record(frame, stamp) : stand_by(frame, stamp);
}

Status SoundLane::stand_by(AVFrame* frame, std::int64_t stamp) {
  if (was_suspended()) standby_.clear();
  // What libavutil spends on a frame counts too: some devices give a few samples at a time.
  constexpr std::uint64_t kFrameBytes = 1024;
  const int bytes = frame->nb_samples * frame->ch_layout.nb_channels *
                    av_get_bytes_per_sample(static_cast<AVSampleFormat>(frame->format));
  KeptFrame kept{FramePtr(av_frame_alloc()), stamp};
  if (!kept.frame) return fail(av_error(AVERROR(ENOMEM), "cannot capture"));
  av_frame_move_ref(kept.frame.get(), frame);
  standby_.push(standby_ticks(stamp), static_cast<std::uint64_t>(bytes) + kFrameBytes, std::move(kept));
  return {};
}

Status SoundLane::begin() {
  while (!standby_.empty() && !done_) {
    const KeptFrame kept = standby_.pop();
    MC_TRY(record(kept.frame.get(), kept.stamp));
  }
  standby_.clear();
  return {};
}

Status SoundLane::record(AVFrame* frame, std::int64_t stamp) {
  if (!filters_ || frame->sample_rate != input_rate_) {
    // A microphone that changes its format is converted; samples still in the old converter come first.
    if (filters_) {
      MC_TRY(filters_->push(nullptr));
      MC_TRY(drain());
    }
    MC_TRY(build_filters(*frame));
  }
  std::int64_t ticks = ticks_at(stamp);
  if (!trim(*frame, ticks)) return {};
  const std::int64_t position = av_rescale(taken_, timescale_, input_rate_);
  const std::int64_t missing = clock_->measure(position, ticks);
  // A hole is told a while behind its place.
  suspended_ = suspended_ || was_suspended();
  if (missing > 0 && live_) {
    const char* reason = std::exchange(suspended_, false) ? "suspended" : "device-overrun";
    tell_gap(reason, clock_->latest(position) - missing, clock_->latest(position), 0);
  }
  tell_drift(ticks);
  frame->pts = taken_;
  taken_ += frame->nb_samples;
  MC_TRY(filters_->push(frame));
  return drain();
}

void SoundLane::tell_drift(std::int64_t ticks) {
  if (!live_ || ticks < next_drift_ticks_) return;
  next_drift_ticks_ = ticks + kDriftEverySeconds * timescale_;
  const auto drift = clock_->drift_ppb();
  if (!drift) return;
  json::object event;
  event["event"] = "drift";
  event["track"] = stream_index_ + 1;
  event["ppb"] = *drift;
  output_.event(std::move(event), rescale(ticks, timescale_, kNanosecondsPerSecond));
}

Status SoundLane::drain() {
  for (;;) {
    MC_TRY_ASSIGN(const bool came, filters_->pull(converted_.get()));
    if (!came) return {};
    converted_->pts = sent_;
    sent_ += converted_->nb_samples;
    const Status encoded = encode(converted_.get());
    av_frame_unref(converted_.get());
    MC_TRY(encoded);
  }
}

Status SoundLane::build_filters(const AVFrame& frame) {
  // Positions are counted anew at another rate.
  if (input_rate_ > 0) taken_ = av_rescale(taken_, frame.sample_rate, input_rate_);
  input_rate_ = frame.sample_rate;
  const char* from = av_get_sample_fmt_name(static_cast<AVSampleFormat>(frame.format));
  const std::string input =
      fmt::format("time_base=1/{0}:sample_rate={0}:sample_fmt={1}:channel_layout={2}", frame.sample_rate,
                  from != nullptr ? from : "none", layout_name(frame.ch_layout));
  const std::string chain = fmt::format("aformat=sample_fmts={}:sample_rates={}:channel_layouts={}",
                                        av_get_sample_fmt_name(encoder_->sample_fmt), encoder_->sample_rate,
                                        layout_name(encoder_->ch_layout));
  MC_TRY_ASSIGN(filters_, FilterChain::open(AVMEDIA_TYPE_AUDIO, input, chain));
  if (encoder_->frame_size > 0) filters_->set_frame_size(encoder_->frame_size);
  return {};
}

}  // namespace mc::media
