// libavcodec's names of the codecs that a recording takes. Internal to this module.
#pragma once

#include <optional>

#include "mp4/codec.hpp"

extern "C" {
#include <libavcodec/codec_id.h>
}

namespace mc::media {

constexpr AVCodecID codec_id(mp4::Codec codec) {
  switch (codec) {
    case mp4::Codec::h264: return AV_CODEC_ID_H264;
    case mp4::Codec::hevc: return AV_CODEC_ID_HEVC;
    case mp4::Codec::av1: return AV_CODEC_ID_AV1;
    case mp4::Codec::vp9: return AV_CODEC_ID_VP9;
    case mp4::Codec::aac: return AV_CODEC_ID_AAC;
    case mp4::Codec::opus: return AV_CODEC_ID_OPUS;
    case mp4::Codec::flac: return AV_CODEC_ID_FLAC;
  }
  return AV_CODEC_ID_NONE;
}

// Nothing: not a codec of ours.
inline std::optional<mp4::Codec> codec_of(AVCodecID id) {
  for (const mp4::Codec codec : {mp4::Codec::h264, mp4::Codec::hevc, mp4::Codec::av1, mp4::Codec::vp9, mp4::Codec::aac,
                                 mp4::Codec::opus, mp4::Codec::flac}) {
    if (codec_id(codec) == id) return codec;
  }
  return std::nullopt;
}

}  // namespace mc::media
