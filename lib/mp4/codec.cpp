#include "mp4/codec.hpp"

#include <algorithm>

#include "mp4/box.hpp"
#include "mp4/codec_config.hpp"
#include "mp4/nal.hpp"

namespace mc::mp4 {
namespace {

// ISO/IEC 14496-12 12.1.3: VisualSampleEntry, the codec's box, and the shape of the pixels.
ByteBuffer make_visual_entry(const CodecParameters& parameters, FourCc type, FourCc config_type, ByteView record,
                             std::uint32_t width, std::uint32_t height) {
  ByteBuffer out;
  const bool sized = width != 0 && height != 0 && width <= UINT16_MAX && height <= UINT16_MAX;
  {
    const BoxWriter entry(out, type);
    append_be(out, 1, 8);  // reserved, data reference 1
    out.resize(out.size() + 16);
    append_be(out, sized ? width : parameters.width, 2);
    append_be(out, sized ? height : parameters.height, 2);
    append_be(out, 0x00480000, 4);  // 72 dots an inch
    append_be(out, 0x00480000, 4);
    append_be(out, 0, 4);
    append_be(out, 1, 2);         // frames a sample
    out.resize(out.size() + 32);  // compressor's name: none
    append_be(out, 0x0018, 2);    // colour, no alpha
    append_be(out, 0xffff, 2);
    {
      const BoxWriter config(out, config_type);
      append(out, record);
    }
    if (parameters.sar_numerator != 0 && parameters.sar_denominator != 0) {
      const BoxWriter pasp(out, fourcc("pasp"));  // 12.1.4
      append_be(out, parameters.sar_numerator, 4);
      append_be(out, parameters.sar_denominator, 4);
    }
  }
  return out;
}

// 12.2.3: AudioSampleEntry
ByteBuffer make_audio_entry(FourCc type, const AudioConfig& config) {
  std::uint32_t rate = config.sample_rate;
  // The field has 16 bits: the greatest regular division that fits stands for a higher rate (FLAC in ISOBMFF 3.3.1).
  while (rate > UINT16_MAX) rate = rate % 2 == 0 ? rate / 2 : 0;
  ByteBuffer out;
  {
    const BoxWriter entry(out, type);
    append_be(out, 1, 8);  // reserved, data reference 1
    append_be(out, 0, 8);
    append_be(out, config.channels, 2);
    append_be(out, config.bits, 2);
    append_be(out, 0, 4);
    append_be(out, static_cast<std::uint64_t>(rate) << 16, 4);
    append(out, config.box);
  }
  return out;
}

// The SEI units of the extradata as arrays behind those of an hvcC (14496-15 8.3.3.1.2): mastering display, light
// level.
void append_declarative(ByteBuffer& hvcc, ByteView extradata) {
  constexpr std::size_t kMaxBytes = 1U << 16;  // more is no real stream
  constexpr std::size_t kArrays = 22;          // where their number stands
  constexpr unsigned kPrefixSei = 39, kSuffixSei = 40;
  const auto configuration = read_nal_configuration(Codec::hevc, extradata);
  if (!configuration || hvcc.size() <= kArrays) return;
  std::size_t kept = 0;
  for (const unsigned type : {kPrefixSei, kSuffixSei}) {
    std::vector<ByteView> units;
    for (const ByteView nal : configuration->nals) {
      if ((nal[0] >> 1 & 0x3f) != type || nal.size() > UINT16_MAX || kept + nal.size() > kMaxBytes) continue;
      kept += nal.size();
      units.push_back(nal);
    }
    if (units.empty()) continue;
    ++hvcc[kArrays];
    append_be(hvcc, type, 1);  // there may be others in band
    append_be(hvcc, units.size(), 2);
    for (const ByteView nal : units) {
      append_be(hvcc, nal.size(), 2);
      append(hvcc, nal);
    }
  }
}

Result<ByteBuffer> make_nal_entry(const CodecParameters& parameters, ByteView key_frame) {
  MC_TRY_ASSIGN(const NalConfiguration configuration, read_nal_configuration(parameters.codec, parameters.extradata));
  ParameterSets sets(parameters.codec);
  sets.update(configuration.nals);
  if (!sets.complete()) {
    MC_TRY_ASSIGN(const std::vector<ByteView> nals, split_nals(key_frame, configuration.framing));
    sets.update(nals);
  }
  if (!sets.complete()) return fail(ErrorKind::unavailable, "needs a key frame with its parameter sets");
  return make_nal_sample_entry(parameters, sets);
}

}  // namespace

const char* name(Codec codec) {
  switch (codec) {
    case Codec::h264: return "h264";
    case Codec::hevc: return "hevc";
    case Codec::av1: return "av1";
    case Codec::vp9: return "vp9";
    case Codec::aac: return "aac";
    case Codec::opus: return "opus";
    case Codec::flac: return "flac";
  }
  return "unknown";
}

ByteBuffer make_nal_sample_entry(const CodecParameters& parameters, const ParameterSets& sets) {
  const SpsInfo info = sets.sps_info().value_or(SpsInfo{});
  const bool is_h264 = parameters.codec == Codec::h264;
  ByteBuffer record = sets.decoder_configuration();
  if (!is_h264) append_declarative(record, parameters.extradata);
  return make_visual_entry(parameters, is_h264 ? fourcc("avc1") : fourcc("hvc1"),
                           is_h264 ? fourcc("avcC") : fourcc("hvcC"), record, info.width, info.height);
}

Result<ByteBuffer> make_sample_entry(const CodecParameters& parameters, ByteView key_frame) {
  switch (parameters.codec) {
    case Codec::h264:
    case Codec::hevc: return make_nal_entry(parameters, key_frame);
    case Codec::av1: {
      MC_TRY_ASSIGN(const VideoConfig config, av1_config(parameters.extradata, key_frame));
      return make_visual_entry(parameters, fourcc("av01"), fourcc("av1C"), config.record, config.width, config.height);
    }
    case Codec::vp9: {
      MC_TRY_ASSIGN(const VideoConfig config, vp9_config(parameters.extradata, key_frame));
      return make_visual_entry(parameters, fourcc("vp09"), fourcc("vpcC"), config.record, config.width, config.height);
    }
    case Codec::aac: {
      MC_TRY_ASSIGN(const AudioConfig config, aac_config(parameters, key_frame));
      return make_audio_entry(fourcc("mp4a"), config);
    }
    case Codec::opus: {
      MC_TRY_ASSIGN(const AudioConfig config, opus_config(parameters));
      return make_audio_entry(fourcc("Opus"), config);
    }
    case Codec::flac: {
      MC_TRY_ASSIGN(const AudioConfig config, flac_config(parameters));
      return make_audio_entry(fourcc("fLaC"), config);
    }
  }
  return fail(ErrorKind::refused, "this codec is not one of a recording");
}

bool is_key_frame(Codec codec, ByteView packet) {
  switch (codec) {
    case Codec::av1: return is_av1_key_frame(packet);
    case Codec::vp9: return is_vp9_key_frame(packet);
    default: return true;
  }
}

}  // namespace mc::mp4
