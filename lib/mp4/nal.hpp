// NAL units of H.264 and HEVC, their parameter sets, and the decoder configuration records made of these
// (ISO/IEC 14496-15 5.3.3, 8.3.3; ITU-T H.264 7.3.2, H.265 7.3.2). Inside mp4 only.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "mp4/codec.hpp"

namespace mc::mp4 {

// How the NAL units of a packet are told apart.
struct NalFraming {
  bool annex_b = true;             // start codes
  std::uint32_t length_bytes = 4;  // else: of the length in front of each, 1 to 4
};

// The units of a packet, views into it, without start codes, lengths and trailing zeros; empty ones are left out.
// Kind damaged: a length reaches past the end; bytes before the first start code.
Result<std::vector<ByteView>> split_nals(ByteView packet, const NalFraming& framing);

enum class NalRole : std::uint8_t { vps, sps, pps, delimiter, slice, key_slice, other };
NalRole nal_role(Codec codec, ByteView nal);
inline bool is_parameter_set(NalRole role) { return role <= NalRole::pps; }

// A parameter set and what it is known by.
struct ParameterSet {
  NalRole role = NalRole::sps;
  std::uint32_t id = 0;
  std::uint32_t sps_id = 0;  // of a PPS: the SPS that it is for
  ByteBuffer nal;
};
// Nothing: `nal` is not a parameter set, or too damaged to have an id.
std::optional<ParameterSet> read_parameter_set(Codec codec, ByteView nal);

// What an SPS says.
struct SpsInfo {
  std::uint32_t width = 0, height = 0;  // cropped
  std::uint32_t chroma_format = 1;
  std::uint32_t luma_depth = 8, chroma_depth = 8;
  std::uint32_t temporal_layers = 1;  // HEVC
  bool temporal_nesting = false;
};
std::optional<SpsInfo> read_sps(Codec codec, ByteView nal);

// The sets that hold at a point of a stream: in order VPS, SPS, PPS, each by rising id.
class ParameterSets {
 public:
  explicit ParameterSets(Codec codec) : codec_(codec) {}

  // Takes the sets among `nals`. A set of the same content changes nothing; an SPS of other content that comes with PPS
  // of its own retires those that were for its forerunner. At most 512 sets of one frame are looked at. True: something
  // has changed.
  bool update(const std::vector<ByteView>& nals);
  bool complete() const;  // one of each kind that the codec needs
  const std::vector<ParameterSet>& all() const { return sets_; }
  std::optional<SpsInfo> sps_info() const;
  // The payload of avcC or hvcC, for 4-byte lengths. Only when complete().
  ByteBuffer decoder_configuration() const;

 private:
  bool put(ParameterSet set);

  Codec codec_;
  std::vector<ParameterSet> sets_;
};

// avc1 or hvc1 for these sets; the size is the SPS's. Only when sets.complete().
ByteBuffer make_nal_sample_entry(const CodecParameters& parameters, const ParameterSets& sets);

// What the extradata of a stream says: the framing of its packets, and its parameter sets.
struct NalConfiguration {
  NalFraming framing;
  std::vector<ByteView> nals;  // views into the extradata
  bool is_record = false;      // the extradata are an avcC or hvcC
};
// Kind damaged: an avcC or hvcC that is cut off.
Result<NalConfiguration> read_nal_configuration(Codec codec, ByteView extradata);

}  // namespace mc::mp4
