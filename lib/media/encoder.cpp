#include "media/encoder.hpp"

#include <algorithm>

#include "media/av_codec.hpp"
#include "media/av_error.hpp"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
}

namespace mc::media {
namespace {

Result<CodecPtr> make_encoder(const std::string& name, AVMediaType type) {
  const AVCodec* codec = avcodec_find_encoder_by_name(name.c_str());
  if (codec == nullptr) {
    return fail(Error{ErrorKind::config, "no such encoder: '" + name + "'", 0,
                      "'ffmpeg -encoders' lists those that are there"});
  }
  if (codec->type != type || !codec_of(codec->id)) {
    return fail(Error{ErrorKind::config, "the encoder '" + name + "' does not make what a recording takes", 0,
                      "h264, hevc, av1 or vp9 for the picture; aac, opus or flac for sound"});
  }
  CodecPtr encoder(avcodec_alloc_context3(codec));
  if (!encoder) return fail(av_error(AVERROR(ENOMEM), "cannot open the encoder '" + name + "'"));
  return encoder;
}

// Sets what the encoder knows; encoders differ.
void set_option(AVCodecContext& encoder, const char* name, const std::string& value) {
  if (encoder.codec->priv_class != nullptr && av_opt_find(encoder.priv_data, name, nullptr, 0, 0) != nullptr) {
    av_opt_set(encoder.priv_data, name, value.c_str(), 0);
  }
}

Status open_encoder(AVCodecContext& encoder) {
  const std::string what = std::string("cannot open the encoder '") + encoder.codec->name + "'";
  const int code = avcodec_open2(&encoder, encoder.codec, nullptr);
  if (code >= 0) return {};
  Error error = av_error(code, what);
  // A hardware encoder without its hardware fails here in many ways; none of them is the input's or the output's fault.
  if (error.kind != ErrorKind::unavailable) error.kind = ErrorKind::config;
  return fail(std::move(error));
}

AVPixelFormat pixel_format(const AVCodec& codec) {
  if (codec.pix_fmts == nullptr) return AV_PIX_FMT_YUV420P;
  for (const AVPixelFormat* format = codec.pix_fmts; *format != AV_PIX_FMT_NONE; ++format) {
    if (*format == AV_PIX_FMT_YUV420P) return *format;
  }
  return codec.pix_fmts[0];
}

bool has_rate(const AVCodec& codec, int rate) {
  if (codec.supported_samplerates == nullptr) return true;
  for (const int* known = codec.supported_samplerates; *known != 0; ++known) {
    if (*known == rate) return true;
  }
  return false;
}

}  // namespace

Result<CodecPtr> open_picture_encoder(const CaptureOptions& options, const PictureFormat& format) {
  MC_TRY_ASSIGN(CodecPtr encoder, make_encoder(options.video_codec, AVMEDIA_TYPE_VIDEO));
  encoder->width = format.width;
  encoder->height = format.height;
  encoder->sample_aspect_ratio = format.sample_aspect;
  encoder->pix_fmt = pixel_format(*encoder->codec);
  encoder->time_base = {1, 90000};
  encoder->framerate = format.rate.num > 0 ? format.rate : AVRational{30, 1};
  encoder->bit_rate = options.video_bitrate;
  encoder->max_b_frames = 0;
  // Key frames are asked for one by one; this is only the longest that a chunk may get.
  encoder->gop_size = std::max(static_cast<int>(av_q2d(encoder->framerate) * 10), 1);
  encoder->flags |= AV_CODEC_FLAG_CLOSED_GOP | AV_CODEC_FLAG_LOW_DELAY;
  set_option(*encoder, "preset", options.preset);
  set_option(*encoder, "tune", "zerolatency");
  set_option(*encoder, "forced-idr", "1");
  set_option(*encoder, "deadline", "realtime");
  if (options.video_codec == "libx264") set_option(*encoder, "x264-params", "scenecut=0:open-gop=0");
  if (options.video_codec == "libx265")
    set_option(*encoder, "x265-params", "scenecut=0:open-gop=0:bframes=0:log-level=error");
  MC_TRY(open_encoder(*encoder));
  return encoder;
}

Result<CodecPtr> open_sound_encoder(const CaptureOptions& options, int sample_rate, int channels) {
  MC_TRY_ASSIGN(CodecPtr encoder, make_encoder(options.audio_codec, AVMEDIA_TYPE_AUDIO));
  encoder->sample_rate = has_rate(*encoder->codec, sample_rate) ? sample_rate : 48000;
  av_channel_layout_default(&encoder->ch_layout, channels == 1 ? 1 : 2);
  encoder->sample_fmt = encoder->codec->sample_fmts != nullptr ? encoder->codec->sample_fmts[0] : AV_SAMPLE_FMT_FLTP;
  encoder->time_base = {1, encoder->sample_rate};
  encoder->bit_rate = options.audio_bitrate;
  MC_TRY(open_encoder(*encoder));
  return encoder;
}

Stream stream_of(const AVCodecContext& encoder) {
  Stream stream;
  stream.codec_name = avcodec_get_name(encoder.codec_id);
  stream.kind = encoder.codec_type == AVMEDIA_TYPE_VIDEO ? StreamKind::picture : StreamKind::sound;
  stream.time_base = {encoder.time_base.num, encoder.time_base.den};
  mp4::CodecParameters& parameters = stream.parameters.emplace();
  parameters.codec = codec_of(encoder.codec_id).value_or(mp4::Codec::h264);
  if (encoder.extradata_size > 0) {
    parameters.extradata.assign(encoder.extradata, encoder.extradata + encoder.extradata_size);
  }
  if (stream.kind == StreamKind::picture) {
    parameters.width = static_cast<std::uint16_t>(encoder.width);
    parameters.height = static_cast<std::uint16_t>(encoder.height);
    if (encoder.sample_aspect_ratio.num > 0 && encoder.sample_aspect_ratio.den > 0) {
      parameters.sar_numerator = static_cast<std::uint32_t>(encoder.sample_aspect_ratio.num);
      parameters.sar_denominator = static_cast<std::uint32_t>(encoder.sample_aspect_ratio.den);
    }
    return stream;
  }
  parameters.sample_rate = static_cast<std::uint32_t>(encoder.sample_rate);
  parameters.channels = static_cast<std::uint16_t>(encoder.ch_layout.nb_channels);
  stream.nominal_ticks = encoder.frame_size;
  stream.priming_samples = static_cast<std::uint32_t>(std::max(encoder.initial_padding, 0));
  return stream;
}

}  // namespace mc::media
