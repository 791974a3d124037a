#include "media/parameters.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "media/av_codec.hpp"
#include "media/av_ptr.hpp"

extern "C" {
#include <libavutil/mem.h>
}

namespace mc::media {
namespace {

CodecPtr make_context(const mp4::CodecParameters& parameters) {
  const AVCodec* decoder = avcodec_find_decoder(codec_id(parameters.codec));
  CodecPtr context(avcodec_alloc_context3(decoder));
  if (!context || decoder == nullptr) return nullptr;
  context->thread_count = 1;
  if (const ByteBuffer& extradata = parameters.extradata; !extradata.empty()) {
    context->extradata = static_cast<std::uint8_t*>(av_mallocz(extradata.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (context->extradata == nullptr) return nullptr;
    std::memcpy(context->extradata, extradata.data(), extradata.size());
    context->extradata_size = static_cast<int>(extradata.size());
  }
  return context;
}

// ISO/IEC 14496-3 1.A.2.2: adts_fixed_header.
void read_adts(mp4::CodecParameters& parameters, ByteView packet) {
  static constexpr std::uint32_t kRates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                             22050, 16000, 12000, 11025, 8000,  7350};
  if (packet.size() < 7 || packet[0] != 0xFF || (packet[1] & 0xF6) != 0xF0) return;
  const unsigned object_type = (packet[2] >> 6) + 1U;
  const unsigned rate = packet[2] >> 2 & 15U;
  const unsigned channels = (packet[2] & 1U) << 2 | packet[3] >> 6;
  if (rate >= std::size(kRates) || channels == 0) return;
  parameters.sample_rate = kRates[rate];
  parameters.channels = static_cast<std::uint16_t>(channels == 7 ? 8 : channels);
  // AudioSpecificConfig (1.6.2.1): five bits of object type, four of rate, four of channels.
  parameters.extradata = {static_cast<std::uint8_t>(object_type << 3 | rate >> 1),
                          static_cast<std::uint8_t>((rate & 1U) << 7 | channels << 3)};
}

// RFC 9639 8.2: STREAMINFO, with or without "fLaC" and the block's header in front.
void read_streaminfo(mp4::CodecParameters& parameters) {
  ByteView info = parameters.extradata;
  if (as_text(info).substr(0, 4) == "fLaC") info = info.subspan(std::min<std::size_t>(8, info.size()));
  if (info.size() < 18) return;
  parameters.sample_rate = static_cast<std::uint32_t>(load_be(info.data() + 10, 3) >> 4);
  parameters.channels = static_cast<std::uint16_t>((info[12] >> 1 & 7U) + 1);
}

void read_picture_size(mp4::CodecParameters& parameters, ByteView packet) {
  const auto context = make_context(parameters);
  const ParserPtr parser(av_parser_init(codec_id(parameters.codec)));
  if (!context || !parser) return;
  parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
  ByteBuffer padded(packet.begin(), packet.end());
  padded.resize(packet.size() + AV_INPUT_BUFFER_PADDING_SIZE);
  std::uint8_t* out = nullptr;
  int out_bytes = 0;
  av_parser_parse2(parser.get(), context.get(), &out, &out_bytes, padded.data(), static_cast<int>(packet.size()),
                   AV_NOPTS_VALUE, AV_NOPTS_VALUE, -1);
  const int width = parser->width > 0 ? parser->width : context->width;
  const int height = parser->height > 0 ? parser->height : context->height;
  if (width <= 0 || height <= 0 || width > 0xFFFF || height > 0xFFFF) return;
  parameters.width = static_cast<std::uint16_t>(width);
  parameters.height = static_cast<std::uint16_t>(height);
}

// Reorder delay and frame interval stand in the SPS, behind everything else. The decoder gives them once it has met a
// slice; one key frame is soon decoded.
void read_picture_timing(Stream& stream, ByteView key_frame) {
  const auto context = make_context(*stream.parameters);
  const PacketPtr packet(av_packet_alloc());
  if (!context || !packet || avcodec_open2(context.get(), context->codec, nullptr) < 0) return;
  if (av_new_packet(packet.get(), static_cast<int>(key_frame.size())) < 0) return;
  std::memcpy(packet->data, key_frame.data(), key_frame.size());
  avcodec_send_packet(context.get(), packet.get());
  stream.decode_delay = std::max(stream.decode_delay, static_cast<std::uint32_t>(std::max(context->has_b_frames, 0)));
  const AVRational rate = context->framerate;
  if (stream.guessed_ticks == 0 && rate.num > 0 && rate.den > 0) {
    const AVRational base = {static_cast<int>(stream.time_base.numerator),
                             static_cast<int>(stream.time_base.denominator)};
    stream.guessed_ticks = av_rescale_q(1, av_inv_q(rate), base);
  }
}

}  // namespace

void complete_parameters(Stream& stream, ByteView packet) {
  if (!stream.parameters || packet.size() > (64U << 20)) return;
  mp4::CodecParameters& parameters = *stream.parameters;
  if (parameters.codec == mp4::Codec::aac && (parameters.extradata.empty() || parameters.sample_rate == 0)) {
    read_adts(parameters, packet);
  }
  if (parameters.codec == mp4::Codec::flac && parameters.sample_rate == 0) read_streaminfo(parameters);
  if (parameters.codec == mp4::Codec::opus && parameters.sample_rate == 0) parameters.sample_rate = 48000;
  if (parameters.codec == mp4::Codec::opus && parameters.channels == 0 && !packet.empty()) {
    parameters.channels = (packet[0] & 4U) != 0 ? 2 : 1;  // RFC 6716 3.1: the s bit
  }
  if (stream.kind != StreamKind::picture) return;
  if (parameters.width == 0 || parameters.height == 0) read_picture_size(parameters, packet);
  if (parameters.width == 0) return;  // no key frame yet
  if (!std::exchange(stream.decode_delay_known, true)) read_picture_timing(stream, packet);
}

}  // namespace mc::media
