// Sample entries for the codecs of a recording, from what containers and encoders carry, and the few looks into coded
// frames that need no decoder. Kinds: damaged (the bytes are not what the codec says), refused (not a codec of ours).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mp4/movie.hpp"

namespace mc::mp4 {

enum class Codec : std::uint8_t { h264, hevc, av1, vp9, aac, opus, flac };
const char* name(Codec codec);

// What the container says about a stream.
struct CodecParameters {
  Codec codec = Codec::h264;
  ByteBuffer
      extradata;  // avcC/hvcC/av1C/vpcC payload, Annex B parameter sets, AudioSpecificConfig, OpusHead, STREAMINFO…
  std::uint16_t width = 0, height = 0;
  std::uint32_t sar_numerator = 0, sar_denominator = 0;  // 0 = not said; else a pasp box
  std::uint32_t sample_rate = 0;
  std::uint16_t channels = 0;
};

// The whole sample entry box (avc1, hvc1, av01, vp09, mp4a, Opus, fLaC). Pictures: `key_frame` is the first key frame
// (as the container gave it); it fills in what the extradata lacks (Annex B parameter sets in band, the AV1 sequence
// header, VP9's profile). Without enough to go on: kind unavailable ("needs a key frame").
Result<ByteBuffer> make_sample_entry(const CodecParameters& parameters, ByteView key_frame);

// H.264 and HEVC: how the frames of a stream are framed and which parameter sets they need.
// `normalise` turns a frame (Annex B, or length-prefixed with 1 to 4 byte lengths) into 4-byte length prefixes. With
// repeat_parameter_sets the parameter sets of the current description stand in front of the key frame's slices when it
// does not carry them itself. Frames with other parameter sets in band than the description's change the description:
// `sample_entry` of the result is then set, and holds for this frame and the following ones.
class NalFramer {
 public:
  // codec h264 or hevc; the extradata decides the framing (first byte 1 = avcC/hvcC, else Annex B).
  explicit NalFramer(const CodecParameters& parameters);

  struct Frame {
    ByteBuffer data;                         // 4-byte lengths
    bool key = false;                        // holds an IDR (H.264 type 5; HEVC 16 to 21)
    std::optional<ByteBuffer> sample_entry;  // the description has changed
  };
  // Nothing decodable yet (before the first key frame with parameter sets): kind unavailable.
  Result<Frame> normalise(ByteView packet);

 private:
  CodecParameters parameters_;
  bool annex_b_ = false;
  std::uint32_t length_bytes_ = 4;
  std::vector<ByteBuffer> parameter_sets_;  // current, in order VPS, SPS, PPS
  bool described_ = false;
};

// Key frame by its own bytes: AV1 (a sequence header and a key frame OBU), VP9 (frame_type 0). Sound: always true.
bool is_key_frame(Codec codec, ByteView packet);

// AV1 as MP4 wants it: temporal delimiters removed (AV1-ISOBMFF 2.4). Other codecs: unchanged, no copy is made then.
ByteBuffer without_temporal_delimiters(ByteView packet);

// Duration in samples of one packet, from its own bytes: AAC 1024 (or 960), Opus by its TOC (RFC 6716 3.1) at 48 kHz,
// FLAC by its frame header. 0: unknown.
std::uint32_t packet_samples(Codec codec, ByteView extradata, ByteView packet);

}  // namespace mc::mp4
