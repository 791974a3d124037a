#include "mp4/sample_entry.hpp"

#include <string>

namespace mc::mp4 {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

std::string hex(std::uint64_t value, int digits) {
  std::string text;
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) text += kDigits[value >> shift & 15];
  return text;
}

std::string hex_trimmed(std::uint64_t value) {
  int digits = 1;
  while (digits < 16 && value >> (digits * 4) != 0) ++digits;
  return hex(value, digits);
}

std::string two_digits(unsigned value) { return (value < 10 ? "0" : "") + std::to_string(value); }

std::size_t fixed_bytes(ByteView entry, TrackKind kind) {
  if (kind == TrackKind::video) return kVisualEntryBytes;
  if (entry.size() < kAudioEntryBytes) return kAudioEntryBytes;
  switch (load_be(entry.data() + 16, 2)) {  // QuickTime File Format, sound sample descriptions
    case 1: return kAudioEntryBytes + 16;
    case 2: return kAudioEntryBytes + 36;
    default: return kAudioEntryBytes;
  }
}

// ISO/IEC 14496-1 7.2.6.1: tag and length of a descriptor; the length has 7 bits a byte, at most four bytes.
ByteView descriptor(FieldReader& in, std::uint8_t wanted_tag) {
  if (in.u8() != wanted_tag) return {};
  std::uint32_t length = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint8_t byte = in.u8();
    length = length << 7 | (byte & 0x7f);
    if ((byte & 0x80) == 0) break;
  }
  return in.take(length);
}

std::string hevc_string(ByteView hvcc) {
  FieldReader in(hvcc);
  in.skip(1);
  const std::uint8_t profile = in.u8();
  const std::uint32_t compatibility = in.u32();
  const std::uint64_t constraints = in.be(6);
  const std::uint8_t level = in.u8();
  if (!in.ok()) return {};
  std::uint32_t reversed = 0;  // 14496-15 annex E.3: in reverse bit order
  for (int bit = 0; bit < 32; ++bit) reversed |= (compatibility >> bit & 1) << (31 - bit);
  std::string text = ".";
  if (profile >> 6 != 0) text += static_cast<char>('A' + (profile >> 6) - 1);
  text += std::to_string(profile & 31) + "." + hex_trimmed(reversed);
  text += (profile & 0x20) != 0 ? ".H" : ".L";
  text += std::to_string(level);
  for (int shift = 40; shift >= 0 && (constraints & ((1ULL << (shift + 8)) - 1)) != 0; shift -= 8) {
    text += "." + hex_trimmed(constraints >> shift & 0xff);
  }
  return text;
}

std::string av1_string(ByteView av1c) {
  FieldReader in(av1c);
  in.skip(1);
  const std::uint8_t profile_level = in.u8();
  const std::uint8_t flags = in.u8();
  if (!in.ok()) return {};
  const bool high = (flags & 0x40) != 0;
  const bool twelve = (flags & 0x20) != 0;
  return "." + std::to_string(profile_level >> 5) + "." + two_digits(profile_level & 31) +
         ((flags & 0x80) != 0 ? "H." : "M.") + (high ? (twelve ? "12" : "10") : "08");
}

std::string vp9_string(ByteView vpcc) {
  FieldReader in(vpcc);
  in.skip(4);
  const std::uint8_t profile = in.u8();
  const std::uint8_t level = in.u8();
  const std::uint8_t depth = in.u8();
  if (!in.ok()) return {};
  return "." + two_digits(profile) + "." + two_digits(level) + "." + two_digits(depth >> 4);
}

std::string aac_string(ByteView config) {
  if (config.size() < 2) return {};
  unsigned object_type = config[0] >> 3;
  if (object_type == 31) object_type = 32 + ((config[0] & 7U) << 3 | config[1] >> 5);
  return ".40." + std::to_string(object_type);
}

}  // namespace

ByteView entry_child(ByteView entry, TrackKind kind, FourCc type) {
  const std::size_t fixed = fixed_bytes(entry, kind);
  if (entry.size() <= fixed) return {};
  ByteView found;
  // A damaged tail only ends the search: what stands before it was whole.
  const auto walked = for_each_box(entry.subspan(fixed), [&](const Box& box) -> Status {
    if (box.type == type && found.empty()) found = box.payload;
    return {};
  });
  static_cast<void>(walked);
  return found;
}

ByteView entry_decoder_config(ByteView entry) {
  FieldReader esds(entry_child(entry, TrackKind::audio, fourcc("esds")));
  esds.skip(4);
  FieldReader es(descriptor(esds, 3));
  es.skip(2);
  const std::uint8_t flags = es.u8();  // 14496-1 7.2.6.5
  if ((flags & 0x80) != 0) es.skip(2);
  if ((flags & 0x40) != 0) es.skip(es.u8());
  if ((flags & 0x20) != 0) es.skip(2);
  FieldReader config(descriptor(es, 4));
  config.skip(13);
  return descriptor(config, 5);
}

EntryFormat entry_format(ByteView entry, TrackKind kind) {
  EntryFormat format;
  if (kind == TrackKind::video && entry.size() >= kVisualEntryBytes) {
    format.width = static_cast<std::uint16_t>(load_be(entry.data() + 32, 2));
    format.height = static_cast<std::uint16_t>(load_be(entry.data() + 34, 2));
    FieldReader pasp(entry_child(entry, kind, fourcc("pasp")));
    const std::uint32_t h = pasp.u32();
    const std::uint32_t v = pasp.u32();
    if (h != 0 && v != 0) {
      format.pixel_width = h;
      format.pixel_height = v;
    }
  }
  if (kind == TrackKind::audio && entry.size() >= kAudioEntryBytes) {
    format.channels = static_cast<std::uint16_t>(load_be(entry.data() + 24, 2));
    format.sample_rate = static_cast<std::uint32_t>(load_be(entry.data() + 32, 2));
    // FLAC's own header is authoritative: rates above 65535 do not fit the field.
    const ByteView dfla = entry_child(entry, kind, fourcc("dfLa"));
    if (dfla.size() >= 8 + 34 && (dfla[4] & 0x7f) == 0) {
      const std::uint64_t packed = load_be(dfla.data() + 8 + 10, 8);
      format.sample_rate = static_cast<std::uint32_t>(packed >> 44);
      format.channels = static_cast<std::uint16_t>((packed >> 41 & 7) + 1);
    }
  }
  return format;
}

std::uint32_t entry_type(ByteView entry) {
  return entry.size() < 8 ? 0 : static_cast<std::uint32_t>(load_be(entry.data() + 4, 4));
}

std::string codec_string(ByteView entry) {
  const FourCc type = entry_type(entry);
  const std::string text = to_text(type);
  switch (type) {
    case fourcc("avc1"):
    case fourcc("avc3"): {
      const ByteView avcc = entry_child(entry, TrackKind::video, fourcc("avcC"));
      return avcc.size() < 4 ? text : text + "." + hex(load_be(avcc.data() + 1, 3), 6);
    }
    case fourcc("hvc1"):
    case fourcc("hev1"): return text + hevc_string(entry_child(entry, TrackKind::video, fourcc("hvcC")));
    case fourcc("av01"): return text + av1_string(entry_child(entry, TrackKind::video, fourcc("av1C")));
    case fourcc("vp09"): return text + vp9_string(entry_child(entry, TrackKind::video, fourcc("vpcC")));
    case fourcc("mp4a"): return text + aac_string(entry_decoder_config(entry));
    case fourcc("Opus"): return "opus";
    case fourcc("fLaC"): return "flac";
    default: return text;
  }
}

}  // namespace mc::mp4
