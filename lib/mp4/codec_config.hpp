// The configuration records of AV1, VP9, AAC, Opus and FLAC, and what their packets say of themselves.
// Inside mp4 only; H.264 and HEVC are in nal.hpp. Kinds as in codec.hpp.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "mp4/codec.hpp"

namespace mc::mp4 {

// The payload of a configuration box, and the size of the picture where the stream itself says it.
struct VideoConfig {
  ByteBuffer record;
  std::uint32_t width = 0, height = 0;
};
// av1C (AV1-ISOBMFF 2.3). A sequence header in `key_frame` that differs from the extradata's wins.
Result<VideoConfig> av1_config(ByteView extradata, ByteView key_frame);
// vpcC with its version and flags (VP Codec ISO Media File Format Binding 1.0); likewise.
Result<VideoConfig> vp9_config(ByteView extradata, ByteView key_frame);

bool is_av1_key_frame(ByteView packet);
bool is_vp9_key_frame(ByteView packet);

// The box that an audio sample entry holds, and what its fixed fields are to say.
struct AudioConfig {
  ByteBuffer box;  // esds, dOps or dfLa, whole
  std::uint32_t sample_rate = 0;
  std::uint16_t channels = 0;
  std::uint16_t bits = 16;
};
Result<AudioConfig> aac_config(const CodecParameters& parameters, ByteView packet);
Result<AudioConfig> opus_config(const CodecParameters& parameters);
Result<AudioConfig> flac_config(const CodecParameters& parameters);

}  // namespace mc::mp4
