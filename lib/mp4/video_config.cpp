#include <algorithm>
#include <functional>

#include "mp4/bit_reader.hpp"
#include "mp4/box.hpp"
#include "mp4/codec_config.hpp"

namespace mc::mp4 {
namespace {

// AV1 bitstream specification 6.2.2
constexpr unsigned kObuSequenceHeader = 1;
constexpr unsigned kObuTemporalDelimiter = 2;
constexpr unsigned kObuFrameHeader = 3;
constexpr unsigned kObuFrame = 6;

struct Obu {
  unsigned type = 0;
  ByteView whole;
  ByteView payload;
};

// AV1 4.10.5. False: cut off, or more than 32 bits.
bool read_leb128(ByteView bytes, std::size_t& at, std::uint64_t& value) {
  value = 0;
  for (unsigned i = 0; i < 8 && at < bytes.size(); ++i) {
    const std::uint8_t byte = bytes[at++];
    value |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) return value <= UINT32_MAX;
  }
  return false;
}

// Calls `visit` for each OBU (AV1 5.3) until it says false. False: `bytes` are not whole OBUs.
bool for_each_obu(ByteView bytes, const std::function<bool(const Obu&)>& visit) {
  while (!bytes.empty()) {
    const std::uint8_t header = bytes[0];
    if ((header & 0x80) != 0) return false;
    std::size_t at = (header & 4) != 0 ? 2 : 1;
    if (at > bytes.size()) return false;
    std::uint64_t size = bytes.size() - at;
    if ((header & 2) != 0 && !read_leb128(bytes, at, size)) return false;
    if (size > bytes.size() - at) return false;
    const std::size_t end = at + static_cast<std::size_t>(size);
    if (!visit(Obu{header >> 3 & 15U, bytes.first(end), bytes.subspan(at, end - at)})) return true;
    bytes = bytes.subspan(end);
  }
  return true;
}

struct SequenceHeader {
  std::uint32_t profile = 0, level = 0, tier = 0;
  bool reduced = false, high_depth = false, twelve_bit = false, monochrome = false;
  bool subsampling_x = true, subsampling_y = true;
  std::uint32_t chroma_position = 0;
  std::uint32_t width = 0, height = 0;
};

// AV1 5.5.1: timing, decoder model and operating points, of which only the first one's level counts.
void read_operating_points(BitReader& in, SequenceHeader& sequence) {
  bool decoder_model = false;
  std::uint32_t delay_bits = 0;
  if (in.flag()) {  // timing_info
    in.skip(64);
    if (in.flag()) in.ue();
    decoder_model = in.flag();
    if (decoder_model) {
      delay_bits = in.bits(5) + 1;
      in.skip(32 + 10);
    }
  }
  const bool display_delay = in.flag();
  const std::uint32_t points = in.bits(5) + 1;
  for (std::uint32_t i = 0; i < points && in.ok(); ++i) {
    in.skip(12);
    const std::uint32_t level = in.bits(5);
    const std::uint32_t tier = level > 7 ? in.bits(1) : 0;
    if (decoder_model && in.flag()) in.skip(2 * delay_bits + 1);
    if (display_delay && in.flag()) in.skip(4);
    if (i == 0) {
      sequence.level = level;
      sequence.tier = tier;
    }
  }
}

void skip_tools(BitReader& in, bool reduced) {
  if (!reduced && in.flag()) in.skip(4 + 3);  // frame ids
  in.skip(3);
  if (!reduced) {
    in.skip(4);
    const bool order_hint = in.flag();
    if (order_hint) in.skip(2);
    const bool choose_screen_tools = in.flag();
    const bool screen_tools = choose_screen_tools || in.flag();
    if (screen_tools && !in.flag()) in.skip(1);
    if (order_hint) in.skip(3);
  }
  in.skip(3);
}

void read_color_config(BitReader& in, SequenceHeader& sequence) {  // 5.5.2
  sequence.high_depth = in.flag();
  if (sequence.profile == 2 && sequence.high_depth) sequence.twelve_bit = in.flag();
  sequence.monochrome = sequence.profile != 1 && in.flag();
  std::uint32_t primaries = 2;
  std::uint32_t transfer = 2;
  std::uint32_t matrix = 2;
  if (in.flag()) {
    primaries = in.bits(8);
    transfer = in.bits(8);
    matrix = in.bits(8);
  }
  if (sequence.monochrome) return;
  if (primaries == 1 && transfer == 13 && matrix == 0) {  // sRGB
    sequence.subsampling_x = sequence.subsampling_y = false;
    return;
  }
  in.skip(1);
  if (sequence.profile == 1) {
    sequence.subsampling_x = sequence.subsampling_y = false;
  } else if (sequence.profile == 2) {
    sequence.subsampling_x = !sequence.twelve_bit || in.flag();
    sequence.subsampling_y = sequence.twelve_bit && sequence.subsampling_x && in.flag();
  }
  if (sequence.subsampling_x && sequence.subsampling_y) sequence.chroma_position = in.bits(2);
}

std::optional<SequenceHeader> read_sequence_header(ByteView payload) {
  BitReader in(payload);
  SequenceHeader sequence;
  sequence.profile = in.bits(3);
  in.skip(1);
  sequence.reduced = in.flag();
  if (sequence.reduced) {
    sequence.level = in.bits(5);
  } else {
    read_operating_points(in, sequence);
  }
  const std::uint32_t width_bits = in.bits(4) + 1;
  const std::uint32_t height_bits = in.bits(4) + 1;
  sequence.width = in.bits(width_bits) + 1;
  sequence.height = in.bits(height_bits) + 1;
  skip_tools(in, sequence.reduced);
  read_color_config(in, sequence);
  if (!in.ok() || sequence.profile > 2) return std::nullopt;
  return sequence;
}

void append_leb128(ByteBuffer& out, std::size_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

// The payload of the first sequence header; empty: none.
ByteView find_sequence_header(ByteView obus) {
  ByteView found;
  for_each_obu(obus, [&](const Obu& obu) {
    if (obu.type == kObuSequenceHeader) found = obu.payload;
    return found.empty();
  });
  return found;
}

// VP9 bitstream specification 6.2: the uncompressed header of a key frame.
struct Vp9Header {
  std::uint32_t profile = 0, bit_depth = 8, subsampling = 1, color_space = 0;
  bool full_range = false;
  std::uint32_t width = 0, height = 0;
};

std::optional<Vp9Header> read_vp9_key_frame(ByteView packet) {
  BitReader in(packet);
  if (in.bits(2) != 2) return std::nullopt;
  Vp9Header header;
  header.profile = in.bits(1);
  header.profile |= in.bits(1) << 1;
  if (header.profile == 3) in.skip(1);
  if (in.flag()) return std::nullopt;        // shows an existing frame
  if (in.bits(1) != 0) return std::nullopt;  // frame_type
  in.skip(2);
  if (in.bits(24) != 0x498342) return std::nullopt;
  if (header.profile >= 2) header.bit_depth = in.flag() ? 12 : 10;
  header.color_space = in.bits(3);
  constexpr std::uint32_t kRgb = 7;
  const bool odd = (header.profile & 1) != 0;
  if (header.color_space != kRgb) {
    header.full_range = in.flag();
    if (odd) {
      const std::uint32_t x = in.bits(1);
      const std::uint32_t y = in.bits(1);
      header.subsampling = x == 0 ? 3 : y == 0 ? 2 : 1;
      in.skip(1);
    }
  } else {
    header.full_range = true;
    header.subsampling = 3;
    if (odd) in.skip(1);
  }
  header.width = in.bits(16) + 1;
  header.height = in.bits(16) + 1;
  if (!in.ok()) return std::nullopt;
  return header;
}

// By the picture's size alone, at the usual rates (VP9 annex A).
std::uint32_t vp9_level(std::uint64_t pixels) {
  struct Limit {
    std::uint32_t pixels, level;
  };
  constexpr Limit kLimits[] = {{36864, 10},  {73728, 11},  {122880, 20},  {245760, 21},
                               {552960, 30}, {983040, 31}, {2228224, 40}, {8912896, 50}};
  for (const Limit& limit : kLimits) {
    if (pixels <= limit.pixels) return limit.level;
  }
  return 60;
}

struct Vp9Features {
  std::optional<std::uint32_t> level;
  std::optional<Vp9Header> header;  // without a size
};

// A vpcC payload, with or without version and flags, or WebM's CodecPrivate (id, length, value; 1 profile, 2 level,
// 3 bit depth, 4 chroma subsampling).
Vp9Features read_vp9_features(ByteView extradata) {
  Vp9Features features;
  if (extradata.size() < 6) return features;
  FieldReader in(extradata);
  Vp9Header header;
  const bool has_version = load_be(extradata.data(), 4) == 0x01000000 && extradata.size() >= 12;
  if (has_version || extradata.size() == 8) {
    if (has_version) in.skip(4);
    header.profile = in.u8();
    features.level = in.u8();
    const std::uint8_t packed = in.u8();
    header.bit_depth = packed >> 4;
    header.subsampling = packed >> 1 & 7;
    header.full_range = (packed & 1) != 0;
  } else {
    while (in.left() >= 3) {
      const std::uint8_t id = in.u8();
      const ByteView value = in.take(in.u8());
      if (value.size() != 1) continue;
      if (id == 1) header.profile = value[0];
      if (id == 2) features.level = value[0];
      if (id == 3) header.bit_depth = value[0];
      if (id == 4) header.subsampling = value[0];
    }
  }
  const bool plausible = in.ok() && header.profile <= 3 && header.subsampling <= 3 &&
                         (header.bit_depth == 8 || header.bit_depth == 10 || header.bit_depth == 12);
  if (plausible) features.header = header;
  if (!plausible) features.level.reset();
  return features;
}

}  // namespace

Result<VideoConfig> av1_config(ByteView extradata, ByteView key_frame) {
  const bool is_record = extradata.size() >= 4 && extradata[0] == 0x81;
  ByteView payload = find_sequence_header(key_frame);
  if (payload.empty()) payload = find_sequence_header(is_record ? extradata.subspan(4) : extradata);
  if (payload.empty()) {
    if (is_record) return VideoConfig{ByteBuffer(extradata.begin(), extradata.end()), 0, 0};
    return fail(ErrorKind::unavailable, "needs a key frame with its sequence header");
  }
  const auto sequence = read_sequence_header(payload);
  if (!sequence) return fail(ErrorKind::damaged, "the sequence header is cut off");
  VideoConfig config;
  config.width = sequence->width;
  config.height = sequence->height;
  append_be(config.record, 0x81, 1);
  append_be(config.record, sequence->profile << 5 | sequence->level, 1);
  append_be(config.record,
            sequence->tier << 7 | (sequence->high_depth ? 0x40U : 0U) | (sequence->twelve_bit ? 0x20U : 0U) |
                (sequence->monochrome ? 0x10U : 0U) | (sequence->subsampling_x ? 8U : 0U) |
                (sequence->subsampling_y ? 4U : 0U) | sequence->chroma_position,
            1);
  append_be(config.record, 0, 1);  // no initial presentation delay
  append_be(config.record, kObuSequenceHeader << 3 | 2, 1);
  append_leb128(config.record, payload.size());
  append(config.record, payload);
  return config;
}

bool is_av1_key_frame(ByteView packet) {
  bool sequence_seen = false;
  bool reduced = false;
  bool key = false;
  for_each_obu(packet, [&](const Obu& obu) {
    if (obu.type == kObuSequenceHeader) {
      sequence_seen = true;
      reduced = !obu.payload.empty() && (obu.payload[0] & 0x08) != 0;
      return true;
    }
    if (obu.type != kObuFrameHeader && obu.type != kObuFrame) return true;
    // show_existing_frame 0 and frame_type KEY_FRAME (5.9.2)
    key = sequence_seen && (reduced || (!obu.payload.empty() && (obu.payload[0] & 0xe0) == 0));
    return false;
  });
  return key;
}

ByteBuffer without_temporal_delimiters(ByteView packet) {
  ByteBuffer out;
  out.reserve(packet.size());
  const bool whole = for_each_obu(packet, [&](const Obu& obu) {
    if (obu.type != kObuTemporalDelimiter) append(out, obu.whole);
    return true;
  });
  if (!whole) out.assign(packet.begin(), packet.end());
  return out;
}

bool is_vp9_key_frame(ByteView packet) { return read_vp9_key_frame(packet).has_value(); }

Result<VideoConfig> vp9_config(ByteView extradata, ByteView key_frame) {
  const Vp9Features features = read_vp9_features(extradata);
  auto header = read_vp9_key_frame(key_frame);
  VideoConfig config;
  if (header) {
    config.width = header->width;
    config.height = header->height;
  } else if (features.header) {
    header = features.header;
  } else {
    return fail(ErrorKind::unavailable, "needs a key frame");
  }
  // Colours by their CICP number: what VP9 does not say there is 2, unspecified.
  const std::uint32_t colors = header->color_space == 2 ? 1 : 2;
  append_be(config.record, 0x01000000, 4);
  append_be(config.record, header->profile, 1);
  append_be(config.record, features.level.value_or(vp9_level(static_cast<std::uint64_t>(config.width) * config.height)),
            1);
  append_be(config.record, header->bit_depth << 4 | header->subsampling << 1 | (header->full_range ? 1U : 0U), 1);
  for (int i = 0; i < 3; ++i) append_be(config.record, colors, 1);
  append_be(config.record, 0, 2);
  return config;
}

}  // namespace mc::mp4
