#include <algorithm>
#include <iterator>

#include "mp4/bit_reader.hpp"
#include "mp4/box.hpp"
#include "mp4/codec_config.hpp"

namespace mc::mp4 {
namespace {

// ISO/IEC 14496-3 table 1.18
constexpr std::uint32_t kAacRates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                       22050, 16000, 12000, 11025, 8000,  7350};

// ISO/IEC 14496-3 1.A.2: the header in front of each frame where no container describes the stream.
struct Adts {
  std::uint32_t object_type = 2, rate_index = 0, channel_configuration = 0;
  std::size_t header_bytes = 7, frame_bytes = 0;
  std::uint32_t blocks = 1;
};

std::optional<Adts> read_adts(ByteView packet) {
  BitReader in(packet);
  if (in.bits(12) != 0xfff) return std::nullopt;
  in.skip(1);
  if (in.bits(2) != 0) return std::nullopt;  // layer
  Adts adts;
  adts.header_bytes = in.flag() ? 7 : 9;  // with a checksum
  adts.object_type = in.bits(2) + 1;
  adts.rate_index = in.bits(4);
  in.skip(1);
  adts.channel_configuration = in.bits(3);
  in.skip(4);
  adts.frame_bytes = in.bits(13);
  in.skip(11);
  adts.blocks = in.bits(2) + 1;
  if (!in.ok() || adts.rate_index >= std::size(kAacRates)) return std::nullopt;
  if (adts.frame_bytes < adts.header_bytes || adts.frame_bytes > packet.size()) return std::nullopt;
  return adts;
}

// ISO/IEC 14496-3 1.6.2.1
struct AudioSpecificConfig {
  std::uint32_t object_type = 0;
  std::uint32_t sample_rate = 0;  // that of the decoded sound, SBR included where it is declared
  std::uint32_t channel_configuration = 0;
  bool is_short = false;  // 960 samples a frame
  bool doubles = false;   // declared SBR at twice the core's rate
};

std::uint32_t read_object_type(BitReader& in) {
  const std::uint32_t type = in.bits(5);
  return type == 31 ? 32 + in.bits(6) : type;
}

std::uint32_t read_rate(BitReader& in) {
  const std::uint32_t index = in.bits(4);
  if (index == 15) return in.bits(24);
  return index < std::size(kAacRates) ? kAacRates[index] : 0;
}

std::optional<AudioSpecificConfig> read_audio_specific_config(ByteView bytes) {
  BitReader in(bytes);
  AudioSpecificConfig config;
  config.object_type = read_object_type(in);
  config.sample_rate = read_rate(in);
  config.channel_configuration = in.bits(4);
  if (config.object_type == 5 || config.object_type == 29) {  // SBR, PS
    const std::uint32_t extended = read_rate(in);
    config.doubles = extended == 2 * config.sample_rate;
    config.sample_rate = extended;
    config.object_type = read_object_type(in);
  }
  config.is_short = in.flag();
  if (!in.ok() || config.object_type == 0) return std::nullopt;
  return config;
}

std::uint16_t channels_of(std::uint32_t configuration) {  // table 1.19
  return static_cast<std::uint16_t>(configuration == 7 ? 8 : configuration < 7 ? configuration : 0);
}

// ISO/IEC 14496-1 8.3.3: one byte of length is enough up to 127, and always at most four.
void append_descriptor(ByteBuffer& out, std::uint8_t tag, ByteView content) {
  append_be(out, tag, 1);
  for (int shift = 21; shift > 0; shift -= 7) {
    if (content.size() >> shift != 0) append_be(out, 0x80 | (content.size() >> shift & 0x7f), 1);
  }
  append_be(out, content.size() & 0x7f, 1);
  append(out, content);
}

ByteBuffer make_esds(ByteView specific_config) {  // ISO/IEC 14496-14 5.6
  ByteBuffer decoder;
  append_be(decoder, 0x40, 1);  // MPEG-4 audio
  append_be(decoder, 0x15, 1);  // audio stream
  append_be(decoder, 0, 3);     // buffer size
  append_be(decoder, 0, 4);     // greatest and average rate: not known while recording
  append_be(decoder, 0, 4);
  append_descriptor(decoder, 5, specific_config);
  ByteBuffer es;
  append_be(es, 0, 3);
  append_descriptor(es, 4, decoder);
  constexpr std::uint8_t kSyncLayer[] = {2};
  append_descriptor(es, 6, kSyncLayer);
  ByteBuffer box;
  {
    const BoxWriter esds(box, fourcc("esds"), 0, 0);
    append_descriptor(box, 3, es);
  }
  return box;
}

std::uint32_t opus_samples(ByteView packet) {  // RFC 6716 3.1, 3.2
  if (packet.empty()) return 0;
  const unsigned config = packet[0] >> 3;
  constexpr std::uint32_t kSilk[] = {480, 960, 1920, 2880};
  constexpr std::uint32_t kHybrid[] = {480, 960};
  constexpr std::uint32_t kCelt[] = {120, 240, 480, 960};
  const std::uint32_t frame = config < 12 ? kSilk[config & 3] : config < 16 ? kHybrid[config & 1] : kCelt[config & 3];
  std::uint32_t count = 2;
  if ((packet[0] & 3) == 0) count = 1;
  if ((packet[0] & 3) == 3) count = packet.size() > 1 ? packet[1] & 63U : 0;
  return frame * count <= 5760 ? frame * count : 0;
}

std::uint32_t flac_samples(ByteView packet) {  // RFC 9639 9.1
  if (packet.size() < 6 || packet[0] != 0xff || (packet[1] & 0xfc) != 0xf8) return 0;
  const unsigned code = packet[2] >> 4;
  if (code == 0) return 0;
  if (code == 1) return 192;
  if (code <= 5) return 576U << (code - 2);
  if (code >= 8) return 256U << (code - 8);
  // The length stands behind the coded number, whose first byte has as many leading ones as it has bytes.
  std::size_t number_bytes = 1;
  for (unsigned mask = 0x80; (packet[4] & mask) != 0 && mask != 0; mask >>= 1) ++number_bytes;
  if (number_bytes > 1) --number_bytes;
  FieldReader in(packet);
  in.skip(4 + number_bytes);
  const auto value = static_cast<std::uint32_t>(in.be(code == 6 ? 1 : 2));
  return in.ok() ? value + 1 : 0;
}

constexpr std::size_t kStreamInfoBytes = 34;

// The STREAMINFO in the extradata: alone, as a metadata block, or behind "fLaC" (RFC 9639 8.1, 8.2).
ByteView find_stream_info(ByteView extradata) {
  if (extradata.size() == kStreamInfoBytes) return extradata;
  if (extradata.size() >= 4 && as_text(extradata.first(4)) == "fLaC") extradata = extradata.subspan(4);
  if (extradata.size() < 4 + kStreamInfoBytes) return {};
  if ((extradata[0] & 0x7f) != 0 || load_be(extradata.data() + 1, 3) != kStreamInfoBytes) return {};
  return extradata.subspan(4, kStreamInfoBytes);
}

}  // namespace

Result<AudioConfig> aac_config(const CodecParameters& parameters, ByteView packet) {
  ByteBuffer specific = parameters.extradata;
  if (specific.empty()) {
    const auto adts = read_adts(packet);
    if (!adts) return fail(ErrorKind::unavailable, "needs a packet with its ADTS header");
    if (adts->channel_configuration == 0) {
      return fail(ErrorKind::refused, "AAC with a channel layout of its own cannot be described");
    }
    append_be(specific, adts->object_type << 11 | adts->rate_index << 7 | adts->channel_configuration << 3, 2);
  }
  const auto described = read_audio_specific_config(specific);
  if (!described) return fail(ErrorKind::damaged, "the AudioSpecificConfig is cut off");
  AudioConfig config;
  config.box = make_esds(specific);
  config.sample_rate = parameters.sample_rate != 0 ? parameters.sample_rate : described->sample_rate;
  config.channels = parameters.channels != 0 ? parameters.channels : channels_of(described->channel_configuration);
  return config;
}

// Encapsulation of Opus in ISO Base Media File Format 4.3.2; OpusHead: RFC 7845 5.1, little endian.
Result<AudioConfig> opus_config(const CodecParameters& parameters) {
  const ByteView head = parameters.extradata;
  AudioConfig config;
  config.sample_rate = 48000;
  config.channels = parameters.channels != 0 ? parameters.channels : std::uint16_t{2};
  std::uint32_t pre_skip = 0;
  std::uint32_t input_rate = parameters.sample_rate != 0 ? parameters.sample_rate : 48000;
  std::uint32_t gain = 0;
  ByteView mapping;
  std::uint8_t family = 0;
  if (!head.empty()) {
    if (head.size() < 19 || as_text(head.first(8)) != "OpusHead") {
      return fail(ErrorKind::damaged, "the Opus header is not one");
    }
    config.channels = head[9];
    pre_skip = head[10] | static_cast<std::uint32_t>(head[11]) << 8;
    input_rate = head[12] | static_cast<std::uint32_t>(head[13]) << 8 | static_cast<std::uint32_t>(head[14]) << 16 |
                 static_cast<std::uint32_t>(head[15]) << 24;
    gain = head[16] | static_cast<std::uint32_t>(head[17]) << 8;
    family = head[18];
    if (family != 0) {
      if (head.size() < 21U + config.channels) return fail(ErrorKind::damaged, "the Opus header is cut off");
      mapping = head.subspan(19, 2U + config.channels);
    }
  }
  if (config.channels == 0 || (family == 0 && config.channels > 2)) {
    return fail(ErrorKind::damaged, "the Opus header does not say how its channels are mapped");
  }
  {
    const BoxWriter dops(config.box, fourcc("dOps"));
    append_be(config.box, 0, 1);
    append_be(config.box, config.channels, 1);
    append_be(config.box, pre_skip, 2);
    append_be(config.box, input_rate, 4);
    append_be(config.box, gain, 2);
    append_be(config.box, family, 1);
    append(config.box, mapping);
  }
  return config;
}

// Encapsulation of FLAC in ISO Base Media File Format 3.3.2
Result<AudioConfig> flac_config(const CodecParameters& parameters) {
  const ByteView info = find_stream_info(parameters.extradata);
  if (info.empty()) return fail(ErrorKind::damaged, "FLAC without its STREAMINFO");
  const std::uint64_t packed = load_be(info.data() + 10, 8);
  AudioConfig config;
  config.sample_rate = static_cast<std::uint32_t>(packed >> 44);
  config.channels = static_cast<std::uint16_t>((packed >> 41 & 7) + 1);
  config.bits = static_cast<std::uint16_t>((packed >> 36 & 31) + 1);
  if (config.sample_rate == 0) return fail(ErrorKind::damaged, "the STREAMINFO says no sample rate");
  {
    const BoxWriter dfla(config.box, fourcc("dfLa"), 0, 0);
    append_be(config.box, 0x80000000 | kStreamInfoBytes, 4);  // the last metadata block, type STREAMINFO
    append(config.box, info);
  }
  return config;
}

ByteView without_adts(ByteView packet) {
  const auto adts = read_adts(packet);
  return adts && adts->frame_bytes == packet.size() ? packet.subspan(adts->header_bytes) : packet;
}

std::uint32_t packet_samples(Codec codec, ByteView extradata, ByteView packet) {
  switch (codec) {
    case Codec::aac: {
      if (const auto config = read_audio_specific_config(extradata)) {
        return (config->is_short ? 960U : 1024U) * (config->doubles ? 2 : 1);
      }
      const auto adts = read_adts(packet);
      return 1024 * (adts ? adts->blocks : 1);
    }
    case Codec::opus: return opus_samples(packet);
    case Codec::flac: return flac_samples(packet);
    default: return 0;
  }
}

}  // namespace mc::mp4
