#include "mp4/nal.hpp"

#include <algorithm>

#include "mp4/bit_reader.hpp"
#include "mp4/box.hpp"

namespace mc::mp4 {
namespace {

constexpr std::uint32_t kMaxSide = 1U << 16;

// The payload without emulation prevention bytes (H.264 7.4.1), at most `limit` bytes of it: headers are short.
ByteBuffer unescaped(ByteView nal, std::size_t limit = 1024) {
  ByteBuffer out;
  int zeros = 0;
  for (const std::uint8_t byte : nal.first(std::min(nal.size(), limit))) {
    if (zeros >= 2 && byte == 3) {
      zeros = 0;
      continue;
    }
    zeros = byte == 0 ? zeros + 1 : 0;
    out.push_back(byte);
  }
  return out;
}

std::size_t find_start_code(ByteView bytes, std::size_t from) {
  // A start code ends in 1: step by three wherever the third byte rules one out.
  for (std::size_t i = from; i + 2 < bytes.size();) {
    if (bytes[i + 2] > 1) {
      i += 3;
    } else if (bytes[i] == 0 && bytes[i + 1] == 0 && bytes[i + 2] == 1) {
      return i;
    } else {
      ++i;
    }
  }
  return bytes.size();
}

Result<std::vector<ByteView>> split_annex_b(ByteView packet) {
  std::vector<ByteView> nals;
  std::size_t start = find_start_code(packet, 0);
  for (std::size_t i = 0; i < start; ++i) {
    if (packet[i] != 0) return fail(ErrorKind::damaged, "picture does not begin with a start code");
  }
  while (start < packet.size()) {
    const std::size_t begin = start + 3;
    start = find_start_code(packet, begin);
    std::size_t end = start;
    while (end > begin && packet[end - 1] == 0) --end;  // trailing_zero_8bits, annex B.1
    if (end > begin) nals.push_back(packet.subspan(begin, end - begin));
  }
  return nals;
}

void skip_scaling_list(BitReader& in, int size) {  // H.264 7.3.2.1.1.1
  std::int32_t last = 8;
  std::int32_t next = 8;
  for (int i = 0; i < size && in.ok(); ++i) {
    if (next != 0) next = static_cast<std::int32_t>((static_cast<std::int64_t>(last) + in.se() + 256) % 256);
    last = next == 0 ? last : next;
  }
}

bool has_chroma_fields(std::uint32_t profile) {  // H.264 7.3.2.1.1
  constexpr std::uint32_t kProfiles[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
  return std::find(std::begin(kProfiles), std::end(kProfiles), profile) != std::end(kProfiles);
}

std::optional<SpsInfo> read_h264_sps(ByteView rbsp) {
  BitReader in(rbsp);
  in.skip(8);
  const std::uint32_t profile = in.bits(8);
  in.skip(16);
  in.ue();  // id
  SpsInfo info;
  bool separate_planes = false;
  if (has_chroma_fields(profile)) {
    info.chroma_format = in.ue();
    if (info.chroma_format > 3) return std::nullopt;
    if (info.chroma_format == 3) separate_planes = in.flag();
    info.luma_depth = 8 + in.ue();
    info.chroma_depth = 8 + in.ue();
    in.skip(1);
    if (in.flag()) {
      for (int i = 0; i < (info.chroma_format == 3 ? 12 : 8); ++i) {
        if (in.flag()) skip_scaling_list(in, i < 6 ? 16 : 64);
      }
    }
  }
  in.ue();  // log2_max_frame_num
  const std::uint32_t order_count_type = in.ue();
  if (order_count_type == 0) {
    in.ue();
  } else if (order_count_type == 1) {
    in.skip(1);
    in.se();
    in.se();
    const std::uint32_t cycle = in.ue();
    for (std::uint32_t i = 0; i < cycle && in.ok(); ++i) in.se();
  }
  in.ue();  // reference frames
  in.skip(1);
  const std::uint64_t width_mbs = 1ULL + in.ue();
  const std::uint64_t height_units = 1ULL + in.ue();
  const bool frames_only = in.flag();
  if (!frames_only) in.skip(1);
  in.skip(1);
  std::uint64_t crop_x = 0;
  std::uint64_t crop_y = 0;
  if (in.flag()) {
    const std::uint64_t left = in.ue();
    const std::uint64_t right = in.ue();
    const std::uint64_t top = in.ue();
    const std::uint64_t bottom = in.ue();
    const std::uint32_t array = separate_planes ? 0 : info.chroma_format;
    crop_x = (left + right) * (array == 1 || array == 2 ? 2 : 1);
    crop_y = (top + bottom) * (array == 1 ? 2 : 1) * (frames_only ? 1 : 2);
  }
  const std::uint64_t width = width_mbs * 16;
  const std::uint64_t height = height_units * 16 * (frames_only ? 1 : 2);
  if (!in.ok() || width >= kMaxSide || height >= kMaxSide || crop_x >= width || crop_y >= height) return std::nullopt;
  if (info.luma_depth > 14 || info.chroma_depth > 14) return std::nullopt;
  info.width = static_cast<std::uint32_t>(width - crop_x);
  info.height = static_cast<std::uint32_t>(height - crop_y);
  return info;
}

// H.265 7.3.3 after the general part: what the layers below the highest say of themselves.
void skip_sub_layers(BitReader& in, std::uint32_t layers_minus_1) {
  std::uint32_t profiles = 0;
  std::uint32_t levels = 0;
  for (std::uint32_t i = 0; i < layers_minus_1; ++i) {
    profiles += in.bits(1);
    levels += in.bits(1);
  }
  if (layers_minus_1 > 0) in.skip((8 - layers_minus_1) * 2);
  in.skip(profiles * 88 + levels * 8);
}

// Leaves `in` behind the SPS's id, which is returned.
std::uint32_t read_hevc_sps_id(BitReader& in, SpsInfo& info) {
  in.skip(16 + 4);
  const std::uint32_t layers_minus_1 = in.bits(3);
  info.temporal_layers = layers_minus_1 + 1;
  info.temporal_nesting = in.flag();
  in.skip(96);
  skip_sub_layers(in, layers_minus_1);
  return in.ue();
}

std::optional<SpsInfo> read_hevc_sps(ByteView rbsp) {
  BitReader in(rbsp);
  SpsInfo info;
  read_hevc_sps_id(in, info);
  info.chroma_format = in.ue();
  if (info.chroma_format > 3) return std::nullopt;
  const bool separate_planes = info.chroma_format == 3 && in.flag();
  const std::uint64_t width = in.ue();
  const std::uint64_t height = in.ue();
  std::uint64_t crop_x = 0;
  std::uint64_t crop_y = 0;
  if (in.flag()) {
    const std::uint64_t left = in.ue();
    const std::uint64_t right = in.ue();
    const std::uint64_t top = in.ue();
    const std::uint64_t bottom = in.ue();
    const std::uint32_t array = separate_planes ? 0 : info.chroma_format;
    crop_x = (left + right) * (array == 1 || array == 2 ? 2 : 1);
    crop_y = (top + bottom) * (array == 1 ? 2 : 1);
  }
  info.luma_depth = 8 + in.ue();
  info.chroma_depth = 8 + in.ue();
  if (!in.ok() || width >= kMaxSide || height >= kMaxSide || crop_x >= width || crop_y >= height) return std::nullopt;
  if (info.luma_depth > 15 || info.chroma_depth > 15) return std::nullopt;
  info.width = static_cast<std::uint32_t>(width - crop_x);
  info.height = static_cast<std::uint32_t>(height - crop_y);
  return info;
}

Result<NalConfiguration> read_avcc(ByteView extradata) {  // 14496-15 5.3.3.1
  NalConfiguration configuration{{false, 4}, {}, true};
  FieldReader in(extradata);
  in.skip(4);
  configuration.framing.length_bytes = (in.u8() & 3U) + 1;
  for (const unsigned mask : {0x1fU, 0xffU}) {
    const unsigned count = in.u8() & mask;
    for (unsigned i = 0; i < count; ++i) {
      const ByteView nal = in.take(in.u16());
      if (!nal.empty()) configuration.nals.push_back(nal);
    }
  }
  if (!in.ok()) return fail(ErrorKind::damaged, "the avcC record is cut off");
  return configuration;
}

Result<NalConfiguration> read_hvcc(ByteView extradata) {  // 14496-15 8.3.3.1
  NalConfiguration configuration{{false, 4}, {}, true};
  FieldReader in(extradata);
  in.skip(21);
  configuration.framing.length_bytes = (in.u8() & 3U) + 1;
  const unsigned arrays = in.u8();
  for (unsigned a = 0; a < arrays && in.ok(); ++a) {
    in.skip(1);
    const unsigned count = in.u16();
    for (unsigned i = 0; i < count && in.ok(); ++i) {
      const ByteView nal = in.take(in.u16());
      if (!nal.empty()) configuration.nals.push_back(nal);
    }
  }
  if (!in.ok()) return fail(ErrorKind::damaged, "the hvcC record is cut off");
  return configuration;
}

void append_sized(ByteBuffer& out, ByteView nal) {
  append_be(out, nal.size(), 2);
  append(out, nal);
}

}  // namespace

Result<std::vector<ByteView>> split_nals(ByteView packet, const NalFraming& framing) {
  if (framing.annex_b) return split_annex_b(packet);
  std::vector<ByteView> nals;
  while (!packet.empty()) {
    if (packet.size() < framing.length_bytes)
      return fail(ErrorKind::damaged, "picture ends inside a NAL unit's length");
    const auto length = static_cast<std::size_t>(load_be(packet.data(), framing.length_bytes));
    packet = packet.subspan(framing.length_bytes);
    if (length > packet.size()) return fail(ErrorKind::damaged, "NAL unit is longer than its picture");
    if (length != 0) nals.push_back(packet.first(length));
    packet = packet.subspan(length);
  }
  return nals;
}

NalRole nal_role(Codec codec, ByteView nal) {
  if (codec == Codec::h264) {  // H.264 table 7-1
    const unsigned type = nal[0] & 31U;
    switch (type) {
      case 5: return NalRole::key_slice;
      case 7: return NalRole::sps;
      case 8: return NalRole::pps;
      case 9: return NalRole::delimiter;
      default: return type >= 1 && type <= 4 ? NalRole::slice : NalRole::other;
    }
  }
  const unsigned type = nal[0] >> 1 & 63U;  // H.265 table 7-1
  switch (type) {
    case 32: return NalRole::vps;
    case 33: return NalRole::sps;
    case 34: return NalRole::pps;
    case 35: return NalRole::delimiter;
    default: break;
  }
  if (type >= 16 && type <= 21) return NalRole::key_slice;
  return type < 32 ? NalRole::slice : NalRole::other;
}

std::optional<ParameterSet> read_parameter_set(Codec codec, ByteView nal) {
  if (nal.empty()) return std::nullopt;
  ParameterSet set{nal_role(codec, nal), 0, 0, {}};
  if (!is_parameter_set(set.role) || nal.size() > UINT16_MAX) return std::nullopt;
  const ByteBuffer rbsp = unescaped(nal);
  BitReader in(rbsp);
  SpsInfo unused;
  if (set.role == NalRole::vps) {
    in.skip(16);
    set.id = in.bits(4);
  } else if (set.role == NalRole::pps) {
    in.skip(codec == Codec::h264 ? 8 : 16);
    set.id = in.ue();
    set.sps_id = in.ue();
  } else if (codec == Codec::h264) {
    in.skip(32);
    set.id = in.ue();
  } else {
    set.id = read_hevc_sps_id(in, unused);
  }
  // H.264 7.4.2: at most 32 SPS and 256 PPS.
  if (!in.ok() || set.id > 255 || set.sps_id > 31 || (set.role == NalRole::sps && set.id > 31)) return std::nullopt;
  set.nal.assign(nal.begin(), nal.end());
  return set;
}

std::optional<SpsInfo> read_sps(Codec codec, ByteView nal) {
  const ByteBuffer rbsp = unescaped(nal);
  return codec == Codec::h264 ? read_h264_sps(rbsp) : read_hevc_sps(rbsp);
}

bool ParameterSets::put(ParameterSet set) {
  const auto before = [](const ParameterSet& a, const ParameterSet& b) {
    return a.role != b.role ? a.role < b.role : a.id < b.id;
  };
  const auto at = std::lower_bound(sets_.begin(), sets_.end(), set, before);
  if (at == sets_.end() || at->role != set.role || at->id != set.id) {
    sets_.insert(at, std::move(set));
    return true;
  }
  if (at->nal == set.nal) return false;
  *at = std::move(set);
  return true;
}

bool ParameterSets::update(const std::vector<ByteView>& nals) {
  constexpr std::size_t kMaxSetsInFrame = 512;
  std::vector<ParameterSet> carried;
  for (const ByteView nal : nals) {
    if (carried.size() == kMaxSetsInFrame) break;
    if (auto set = read_parameter_set(codec_, nal)) carried.push_back(std::move(*set));
  }
  bool changed = false;
  for (const ParameterSet& set : carried) {
    if (!put(set)) continue;
    changed = true;
    if (set.role != NalRole::sps) continue;
    // PPS that this frame carries for the new SPS stand instead of those for its forerunner. When it carries none, the
    // old ones stay: better a set too many than none.
    const auto is_for_it = [&](const ParameterSet& other) {
      return other.role == NalRole::pps && other.sps_id == set.id;
    };
    if (std::none_of(carried.begin(), carried.end(), is_for_it)) continue;
    std::erase_if(sets_, [&](const ParameterSet& old) {
      return is_for_it(old) &&
             std::none_of(carried.begin(), carried.end(), [&](const ParameterSet& c) { return c.nal == old.nal; });
    });
  }
  return changed;
}

bool ParameterSets::complete() const {
  const auto has = [&](NalRole role) {
    return std::any_of(sets_.begin(), sets_.end(), [&](const ParameterSet& set) { return set.role == role; });
  };
  return has(NalRole::sps) && has(NalRole::pps) && (codec_ == Codec::h264 || has(NalRole::vps));
}

std::optional<SpsInfo> ParameterSets::sps_info() const {
  for (const ParameterSet& set : sets_) {
    if (set.role == NalRole::sps) return read_sps(codec_, set.nal);
  }
  return std::nullopt;
}

ByteBuffer ParameterSets::decoder_configuration() const {
  std::vector<ByteView> of_role[3];
  for (const ParameterSet& set : sets_) of_role[static_cast<std::size_t>(set.role)].push_back(set.nal);
  const ByteView sps = of_role[static_cast<std::size_t>(NalRole::sps)].front();
  const SpsInfo info = read_sps(codec_, sps).value_or(SpsInfo{});
  ByteBuffer out;
  append_be(out, 1, 1);
  if (codec_ == Codec::h264) {
    append(out, sps.subspan(1, 3));  // profile, compatibility, level
    append_be(out, 0xff, 1);         // 4-byte lengths
    for (const NalRole role : {NalRole::sps, NalRole::pps}) {
      const auto& nals = of_role[static_cast<std::size_t>(role)];
      const std::size_t count = std::min<std::size_t>(nals.size(), role == NalRole::sps ? 31 : 255);
      append_be(out, role == NalRole::sps ? 0xe0 | count : count, 1);
      for (std::size_t i = 0; i < count; ++i) append_sized(out, nals[i]);
    }
    const std::uint32_t profile = sps[1];
    if (profile != 66 && profile != 77 && profile != 88) {
      append_be(out, 0xfc | info.chroma_format, 1);
      append_be(out, 0xf8 | (info.luma_depth - 8), 1);
      append_be(out, 0xf8 | (info.chroma_depth - 8), 1);
      append_be(out, 0, 1);
    }
    return out;
  }
  ByteBuffer tier_level = unescaped(sps);
  tier_level.resize(15);
  append(out, ByteView(tier_level).subspan(3, 12));  // general_profile_space to general_level_idc, as in the SPS
  append_be(out, 0xf000, 2);                         // min_spatial_segmentation_idc: not known
  append_be(out, 0xfc, 1);                           // parallelismType: not known
  append_be(out, 0xfc | info.chroma_format, 1);
  append_be(out, 0xf8 | (info.luma_depth - 8), 1);
  append_be(out, 0xf8 | (info.chroma_depth - 8), 1);
  append_be(out, 0, 2);  // average frame rate: not said
  append_be(out, info.temporal_layers << 3 | (info.temporal_nesting ? 4U : 0U) | 3U, 1);
  append_be(out, 3, 1);
  for (std::size_t role = 0; role < 3; ++role) {
    append_be(out, 0x80 | (32 + role), 1);
    append_be(out, of_role[role].size(), 2);
    for (const ByteView nal : of_role[role]) append_sized(out, nal);
  }
  return out;
}

Result<NalConfiguration> read_nal_configuration(Codec codec, ByteView extradata) {
  if (!extradata.empty() && extradata[0] == 1) {
    return codec == Codec::h264 ? read_avcc(extradata) : read_hvcc(extradata);
  }
  MC_TRY_ASSIGN(std::vector<ByteView> nals, split_nals(extradata, {}));
  return NalConfiguration{{}, std::move(nals), false};
}

}  // namespace mc::mp4
