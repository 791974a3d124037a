// The encoders of a capture, opened the way a recording needs them. Internal to this module.
#pragma once

#include "base/error.hpp"
#include "media/av_ptr.hpp"
#include "media/capture_options.hpp"

namespace mc::media {

struct PictureFormat {
  int width = 0, height = 0;
  AVRational sample_aspect = {0, 1};
  AVRational rate = {0, 1};  // declared, or 0
};
// Time base 1/90000; no B-frames, closed groups of pictures, low delay. A frame whose pict_type is I becomes an IDR.
// Kinds: config (no such encoder, not one of a recording's codecs, or its options), refused.
Result<CodecPtr> open_picture_encoder(const CaptureOptions& options, const PictureFormat& format);

// Time base 1/rate: the given rate where the encoder has it, else 48000. One or two channels.
Result<CodecPtr> open_sound_encoder(const CaptureOptions& options, int sample_rate, int channels);

// What the stream header says about it. `time_base` is the encoder's.
Stream stream_of(const AVCodecContext& encoder);

}  // namespace mc::media
