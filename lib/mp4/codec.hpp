// Sample entries for the codecs of a recording, from what containers and encoders carry, and the few looks into coded
// frames that need no decoder. Kinds: damaged (the bytes are not what the codec says), refused (not a codec of ours).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "mp4/movie.hpp"

namespace mc::mp4 {

enum class Codec : std::uint8_t { h264, hevc, av1, vp9, aac, opus, flac };
const char* name(Codec codec);

// What the container says about a stream.
struct CodecParameters {
  Codec codec = Codec::h264;
  // avcC/hvcC/av1C/vpcC payload, Annex B parameter sets, OBUs, WebM's VP9 features, AudioSpecificConfig, OpusHead,
  // STREAMINFO with or without "fLaC" in front. May be empty.
  ByteBuffer extradata;
  std::uint16_t width = 0, height = 0;
  std::uint32_t sar_numerator = 0, sar_denominator = 0;  // 0 = not said; else a pasp box
  std::uint32_t sample_rate = 0;
  std::uint16_t channels = 0;
};

// The whole sample entry box (avc1, hvc1, av01, vp09, mp4a, Opus, fLaC). Pictures: `key_frame` is the first key frame
// (as the container gave it); it fills in what the extradata lacks (Annex B parameter sets in band, the AV1 sequence
// header, VP9's profile); what it says about its own size wins over the container. Records are written anew from what
// they hold, so that a stream is described by the same bytes however it came. AAC without extradata: `key_frame` is a
// packet that begins with its ADTS header. Opus without OpusHead: no priming. Without enough to go on: kind unavailable
// ("needs a key frame").
Result<ByteBuffer> make_sample_entry(const CodecParameters& parameters, ByteView key_frame);

// H.264 and HEVC: how the frames of a stream are framed and which parameter sets they need.
// `normalise` turns a frame (Annex B, or length-prefixed with 1 to 4 byte lengths) into 4-byte length prefixes and
// keeps every NAL unit of it. In a key frame, those parameter sets of the current description that it does not carry
// itself are put in front, behind an access unit delimiter. SEI units of the extradata hold for the whole stream (HDR
// metadata): of HEVC they are kept in the description (ISO/IEC 14496-15 8.3.3.1.2), of H.264, whose record has no place
// for them, they are put into each key frame too. Parameter sets in band that are not in the description change it: a
// set of the same kind and id is replaced, others stay (an SPS takes along the PPS that were for its forerunner).
// `sample_entry` of the result is then set, and holds for this frame and the following ones; it is set too for the
// first frame when the extradata had no parameter sets. It is what make_sample_entry would give. May be moved, not
// copied.
class NalFramer {
 public:
  // codec h264 or hevc; the extradata decides the framing (first byte 1 = avcC/hvcC, else Annex B).
  explicit NalFramer(const CodecParameters& parameters);
  NalFramer(NalFramer&&) noexcept;
  NalFramer& operator=(NalFramer&&) noexcept;
  ~NalFramer();

  struct Frame {
    ByteBuffer data;                         // 4-byte lengths
    bool key = false;                        // holds an IDR (H.264 type 5; HEVC 16 to 21)
    std::optional<ByteBuffer> sample_entry;  // the description has changed
  };
  // Nothing decodable yet (no parameter sets but those of a key frame to come): kind unavailable.
  Result<Frame> normalise(ByteView packet);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Key frame by its own bytes: AV1 (a sequence header and a key frame OBU), VP9 (frame_type 0). Sound: always true.
bool is_key_frame(Codec codec, ByteView packet);

// AV1 as MP4 wants it: temporal delimiters removed (AV1-ISOBMFF 2.4). A packet that is not OBUs comes back unchanged.
ByteBuffer without_temporal_delimiters(ByteView packet);

// An AAC packet without its ADTS header (ISO/IEC 14496-3 1.A.2): a view into it. Unchanged when it has none, or one
// that does not span the packet.
ByteView without_adts(ByteView packet);

// Duration in samples of one packet, from its own bytes: AAC 1024 or 960 (twice that where SBR is declared, at the rate
// it doubles to), Opus by its TOC (RFC 6716 3.1) at 48 kHz, FLAC by its frame header. 0: unknown.
std::uint32_t packet_samples(Codec codec, ByteView extradata, ByteView packet);

}  // namespace mc::mp4
