#include "media/nut_reader.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace mc::media {
namespace {

__extension__ typedef unsigned __int128 Uint128;

tl::unexpected<Error> damaged(std::string what) {
  return fail(ErrorKind::damaged, "damaged NUT stream: " + std::move(what));
}

struct CodecTag {
  mp4::Codec codec;
  StreamKind kind;
  std::string_view tags;  // four bytes each
};
// What libavformat's writer and others put into the fourcc field. Sound without a fourcc has its WAVE format tag there.
constexpr CodecTag kCodecTags[] = {
    {mp4::Codec::h264, StreamKind::picture, "H264h264X264x264avc1avc3AVC1"},
    {mp4::Codec::hevc, StreamKind::picture, "HEVChevcH265h265hvc1hev1"},
    {mp4::Codec::av1, StreamKind::picture, "AV01av01"},
    {mp4::Codec::vp9, StreamKind::picture, "VP90vp90vp09"},
    {mp4::Codec::aac, StreamKind::sound, {"mp4aAAC aac \xFF\0\0\0\x10\x16\0\0\x06\xA1\0\0", 20}},
    {mp4::Codec::opus, StreamKind::sound, "Opusopus"},
    {mp4::Codec::flac, StreamKind::sound, {"fLaCflac\xAC\xF1\0\0", 12}},
};

std::string readable(ByteView fourcc) {
  std::string text;
  for (const std::uint8_t c : fourcc) text += c >= 0x20 && c < 0x7F ? static_cast<char>(c) : '?';
  return text;
}

void name_codec(Stream& stream, std::uint64_t stream_class, ByteView fourcc) {
  stream.codec_name = readable(fourcc);
  ByteBuffer four(fourcc.begin(), fourcc.end());
  four.resize(4);
  const std::string_view text = as_text(four);
  if (stream_class == nut::kClassUserData && text == "mcev") {
    stream.kind = StreamKind::events;
    return;
  }
  for (const CodecTag& known : kCodecTags) {
    const auto wanted = known.kind == StreamKind::picture ? nut::kClassVideo : nut::kClassAudio;
    if (wanted != stream_class) continue;
    for (std::size_t i = 0; i < known.tags.size(); i += 4) {
      if (known.tags.substr(i, 4) != text) continue;
      stream.kind = known.kind;
      stream.codec_name = mp4::name(known.codec);
      stream.parameters.emplace();
      stream.parameters->codec = known.codec;
    }
  }
}

// "30000/1001" in ticks of the time base, rounded; 0 for anything else.
std::int64_t interval_ticks(const std::string& rate, const TimeBase& base) {
  char* end = nullptr;
  const auto frames = std::strtoull(rate.c_str(), &end, 10);
  const auto seconds = *end == '/' ? std::strtoull(end + 1, &end, 10) : 1;
  constexpr std::uint64_t kLimit = 1U << 31;
  if (*end != '\0' || frames == 0 || seconds == 0 || frames >= kLimit || seconds >= kLimit) return 0;
  const Uint128 per = Uint128{frames} * static_cast<std::uint64_t>(base.numerator);
  const Uint128 ticks = (Uint128{seconds} * static_cast<std::uint64_t>(base.denominator) + per / 2) / per;
  return ticks > std::numeric_limits<std::int32_t>::max() ? 0 : static_cast<std::int64_t>(ticks);
}

std::int64_t tag_number(const Tags& tags, const char* name) {
  const auto found = tags.find(name);
  if (found == tags.end() || found->second.empty() || found->second.size() > 9) return -1;
  const bool digits =
      std::all_of(found->second.begin(), found->second.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::stol(found->second) : -1;
}

// Side data and metadata in front of a frame (version 4): named values of the same shape as in an info packet.
bool skip_named_values(nut::NumberReader& in) {
  for (std::uint64_t left = in.v(); left > 0 && in.ok(); --left) {
    in.vb();
    const std::int64_t type = in.s();
    if (type == -1) in.vb();
    if (type == -2) {
      in.vb();
      in.vb();
    }
    if (type == -3 || type < -4) in.s();
    if (type == -4) in.v();
  }
  return in.ok();
}

}  // namespace

std::span<std::uint8_t> NutReader::room() { return make_room(kReadBytes); }

std::span<std::uint8_t> NutReader::make_room(std::size_t bytes) {
  head_ += std::exchange(release_, 0);
  if (head_ == tail_) head_ = tail_ = 0;
  if (buffer_.size() - tail_ < bytes) {
    if (head_ < tail_) std::memmove(buffer_.data(), buffer_.data() + head_, tail_ - head_);
    tail_ -= head_;
    head_ = 0;
    if (buffer_.size() - tail_ < bytes) buffer_.resize(std::max(2 * buffer_.size(), tail_ + bytes));
  }
  return std::span(buffer_).subspan(tail_);
}

void NutReader::commit(std::size_t bytes) { tail_ += bytes; }

void NutReader::push(ByteView bytes) {
  if (bytes.empty()) return;
  std::memcpy(make_room(bytes.size()).data(), bytes.data(), bytes.size());
  commit(bytes.size());
}

Result<std::optional<Packet>> NutReader::next() {
  head_ += std::exchange(release_, 0);
  if (failed_) return fail(*failed_);
  for (;;) {
    Packet packet;
    const auto done = step(packet);
    if (!done) {
      failed_ = done.error();
      return fail(*failed_);
    }
    if (*done == Step::need_more) return std::optional<Packet>{};
    if (*done == Step::frame) return std::optional<Packet>{packet};
  }
}

NutReader::End NutReader::finish() const {
  const std::uint64_t left = tail_ - head_ - release_;
  // While looking for a syncpoint the rest is part of the damage.
  if (lost_) return {ready_, 0, damaged_bytes_ + left};
  return {ready_, left, damaged_bytes_};
}

Result<NutReader::Step> NutReader::step(Packet& packet) {
  if (lost_) return find_sync();
  const ByteView bytes = unread();
  if (!saw_id_) {
    if (bytes.size() < nut::kFileId.size()) return Step::need_more;
    if (as_text(bytes.first(nut::kFileId.size())) != nut::kFileId) return fail(ErrorKind::damaged, "not a NUT stream");
    head_ += nut::kFileId.size();
    saw_id_ = true;
    return Step::again;
  }
  if (bytes.empty()) return Step::need_more;
  return bytes[0] == 'N' ? read_header_packet() : read_frame(packet);
}

Result<NutReader::Step> NutReader::read_header_packet() {
  const ByteView bytes = unread();
  nut::NumberReader in(bytes);
  const std::uint64_t startcode = in.be(8);
  const std::uint64_t forward = in.v();
  const std::size_t checked = in.position();
  const bool is_long = forward > nut::kLongPacketBytes;
  if (is_long) in.be(4);
  if (in.ran_out()) return Step::need_more;
  const bool known = startcode == nut::kMainStart || startcode == nut::kStreamStart || startcode == nut::kInfoStart ||
                     startcode == nut::kSyncpointStart || startcode == nut::kIndexStart;
  if (!in.ok() || !known || forward < 4 || forward > kMaxHeaderBytes ||
      (is_long && nut::crc32(bytes.first(checked + 4)) != 0)) {
    if (ready_) return lose_sync();
    return damaged("bad packet header");
  }
  if (in.left() < forward) return Step::need_more;
  const ByteView checksummed = in.take(forward);
  if (nut::crc32(checksummed) != 0) {
    if (ready_) return lose_sync();
    return damaged("a header's checksum does not match");
  }
  const ByteView payload = checksummed.first(checksummed.size() - 4);
  if (startcode == nut::kSyncpointStart) {
    if (auto read = read_syncpoint(payload); !read) {
      if (ready_) return lose_sync();
      return fail(std::move(read).error());
    }
    ready_ = true;
  } else if (startcode == nut::kInfoStart) {
    if (saw_main_) read_info(payload);
  } else if (!ready_ && startcode == nut::kMainStart) {
    // Headers are repeated now and then for readers that begin in the middle.
    if (!saw_main_) MC_TRY(read_main_header(payload));
  } else if (!ready_ && startcode == nut::kStreamStart) {
    MC_TRY(read_stream_header(payload));
  }
  head_ += in.position();
  return Step::again;
}

Status NutReader::read_main_header(ByteView payload) {
  nut::NumberReader in(payload);
  version_ = in.v();
  if (version_ < 2 || version_ > 4)
    return fail(ErrorKind::refused, "a NUT stream of version " + std::to_string(version_));
  if (version_ > 3) in.v();  // minor version
  const std::uint64_t stream_count = in.v();
  max_distance_ = in.v();
  const std::uint64_t time_base_count = in.v();
  if (!in.ok() || stream_count == 0 || stream_count > kMaxStreams || time_base_count == 0 || time_base_count > 256) {
    return damaged("main header");
  }
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 31;
  for (std::uint64_t i = 0; i < time_base_count; ++i) {
    const std::uint64_t numerator = in.v();
    const std::uint64_t denominator = in.v();
    if (numerator == 0 || denominator == 0 || numerator >= kLimit || denominator >= kLimit) return damaged("time base");
    time_bases_.push_back({static_cast<std::int64_t>(numerator), static_cast<std::int64_t>(denominator)});
  }
  streams_.resize(stream_count);
  states_.resize(stream_count);
  MC_TRY(read_frame_codes(in));
  elision_headers_.emplace_back();
  if (in.left() > 0) {
    for (std::uint64_t left = in.v(); left > 0 && in.ok() && elision_headers_.size() <= 128; --left) {
      const ByteView header = in.vb();
      elision_headers_.emplace_back(header.begin(), header.end());
    }
  }
  if (version_ > 3 && in.left() > 0) main_flags_ = in.v();
  if (!in.ok()) return damaged("main header");
  saw_main_ = true;
  return {};
}

Status NutReader::read_frame_codes(nut::NumberReader& in) {
  FrameCode code;
  for (std::size_t i = 0; i < frame_codes_.size();) {
    code.flags = in.v();
    const std::uint64_t fields = in.v();
    code.size_lsb = 0;
    code.reserved = 0;
    if (fields > 0) code.pts_delta = in.s();
    if (fields > 1) code.size_mul = in.v();
    if (fields > 2) code.stream = in.v();
    if (fields > 3) code.size_lsb = in.v();
    if (fields > 4) code.reserved = in.v();
    std::uint64_t count = code.size_mul - code.size_lsb;
    if (fields > 5) count = in.v();
    if (fields > 6) in.s();  // match_time_delta: for seeking only
    if (fields > 7) code.header_index = in.v();
    for (std::uint64_t extra = 8; extra < fields && in.ok(); ++extra) in.v();
    if (!in.ok() || count == 0 || count > frame_codes_.size() - i || code.stream >= streams_.size()) {
      return damaged("frame code table");
    }
    for (std::uint64_t j = 0; j < count && i < frame_codes_.size(); ++i) {
      if (i == 'N') continue;  // stays invalid: it begins the startcodes
      frame_codes_[i] = code;
      frame_codes_[i].size_lsb += j++;
    }
    if (i == 'N') ++i;
  }
  return {};
}

Status NutReader::read_stream_header(ByteView payload) {
  if (!saw_main_) return damaged("a stream header before the main header");
  nut::NumberReader in(payload);
  const std::uint64_t index = in.v();
  const std::uint64_t stream_class = in.v();
  const ByteView fourcc = in.vb();
  const std::uint64_t time_base = in.v();
  const std::uint64_t msb_pts_shift = in.v();
  const std::uint64_t max_pts_distance = in.v();
  const std::uint64_t decode_delay = in.v();
  in.v();  // stream_flags: fixed frame rate
  const ByteView extradata = in.vb();
  if (!in.ok() || index >= streams_.size() || time_base >= time_bases_.size() || msb_pts_shift > 62 ||
      decode_delay >= 1000 || fourcc.size() > 4) {
    return damaged("stream header");
  }
  if (states_[index].described) return {};
  StreamState& state = states_[index];
  state = {true, time_base, static_cast<std::uint32_t>(msb_pts_shift), max_pts_distance, 0};
  Stream& stream = streams_[index];
  const Tags tags = std::move(stream.tags);
  stream = Stream{};
  stream.tags = tags;
  stream.time_base = time_bases_[time_base];
  stream.decode_delay = static_cast<std::uint32_t>(decode_delay);
  name_codec(stream, stream_class, fourcc);
  if (!stream.parameters) return {};
  mp4::CodecParameters& parameters = *stream.parameters;
  parameters.extradata.assign(extradata.begin(), extradata.end());
  if (stream.kind == StreamKind::picture) {
    const std::uint64_t width = in.v(), height = in.v();
    const std::uint64_t sar_numerator = in.v(), sar_denominator = in.v();
    if (!in.ok() || width > 0xFFFF || height > 0xFFFF) return damaged("picture size");
    parameters.width = static_cast<std::uint16_t>(width);
    parameters.height = static_cast<std::uint16_t>(height);
    if (sar_numerator <= 0xFFFFFFFF && sar_denominator <= 0xFFFFFFFF) {
      parameters.sar_numerator = static_cast<std::uint32_t>(sar_numerator);
      parameters.sar_denominator = static_cast<std::uint32_t>(sar_denominator);
    }
  } else {
    const std::uint64_t rate = in.v(), rate_denominator = in.v(), channels = in.v();
    if (!in.ok() || rate_denominator == 0 || rate / rate_denominator > 0xFFFFFFFF || channels > 0xFFFF) {
      return damaged("sound parameters");
    }
    parameters.sample_rate = static_cast<std::uint32_t>(rate / rate_denominator);
    parameters.channels = static_cast<std::uint16_t>(channels);
  }
  return {};
}

void NutReader::read_info(ByteView payload) {
  nut::NumberReader in(payload);
  const std::uint64_t stream_plus_1 = in.v();
  const std::int64_t chapter = in.s();
  in.v();  // chapter start and length
  in.v();
  const std::uint64_t count = in.v();
  if (!in.ok() || chapter != 0 || stream_plus_1 > streams_.size()) return;
  Tags& tags = stream_plus_1 == 0 ? tags_ : streams_[stream_plus_1 - 1].tags;
  for (std::uint64_t i = 0; i < count && in.ok() && tags.size() < 256; ++i) {
    const ByteView key = in.vb();
    const std::int64_t type = in.s();
    std::optional<std::string> text;
    if (type == -1) {
      text = as_text(in.vb());
    } else if (type == -2) {
      in.vb();
      text = as_text(in.vb());
    } else if (type == -3) {
      text = std::to_string(in.s());
    } else if (type == -4) {
      in.v();
    } else if (type < -4) {
      text = std::to_string(in.s()) + "/" + std::to_string(-(type + 4));
    } else {
      text = std::to_string(type);
    }
    if (in.ok() && text && !key.empty()) tags[std::string(as_text(key))] = std::move(*text);
  }
}

Status NutReader::read_syncpoint(ByteView payload) {
  if (!saw_main_) return damaged("a syncpoint before the main header");
  nut::NumberReader in(payload);
  const std::uint64_t coded = in.v();
  in.v();  // back_ptr: for seeking
  if (!in.ok()) return damaged("syncpoint");
  const TimeBase& from = time_bases_[coded % time_bases_.size()];
  const Uint128 value = coded / time_bases_.size();
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (!states_[i].described) return damaged("a stream without a header");
    const TimeBase& to = time_bases_[states_[i].time_base];
    const Uint128 ticks =
        value * static_cast<std::uint64_t>(from.numerator) * static_cast<std::uint64_t>(to.denominator) /
        (Uint128{static_cast<std::uint64_t>(from.denominator)} * static_cast<std::uint64_t>(to.numerator));
    states_[i].last_pts = static_cast<std::int64_t>(ticks);
  }
  if (!ready_) {
    for (Stream& stream : streams_) {
      if (const auto rate = stream.tags.find("r_frame_rate"); rate != stream.tags.end()) {
        stream.guessed_ticks = interval_ticks(rate->second, stream.time_base);
      }
      if (const auto ticks = tag_number(stream.tags, "maycast-nominal"); ticks > 0) stream.nominal_ticks = ticks;
      if (const auto samples = tag_number(stream.tags, "maycast-priming"); samples >= 0) {
        stream.priming_samples = static_cast<std::uint32_t>(samples);
      }
    }
  }
  return {};
}

Result<NutReader::Step> NutReader::read_frame(Packet& packet) {
  if (!ready_) return damaged("a frame before the first syncpoint");
  const ByteView bytes = unread();
  const FrameCode& code = frame_codes_[bytes[0]];
  nut::NumberReader in(bytes);
  in.be(1);
  std::uint64_t flags = code.flags;
  if ((flags & nut::kFlagInvalid) != 0) return lose_sync();
  if ((flags & nut::kFlagCoded) != 0) flags ^= in.v();
  const std::uint64_t index = (flags & nut::kFlagStreamId) != 0 ? in.v() : code.stream;
  const std::uint64_t coded_pts = (flags & nut::kFlagCodedPts) != 0 ? in.v() : 0;
  const std::uint64_t size_msb = (flags & nut::kFlagSizeMsb) != 0 ? in.v() : 0;
  if ((flags & nut::kFlagMatchTime) != 0) in.s();
  std::uint64_t header_index = (flags & nut::kFlagHeaderIndex) != 0 ? in.v() : code.header_index;
  const std::uint64_t reserved = (flags & nut::kFlagReserved) != 0 ? in.v() : code.reserved;
  if (reserved > 256) return lose_sync();
  for (std::uint64_t i = 0; i < reserved; ++i) in.v();
  const bool checked = (flags & nut::kFlagChecksum) != 0;
  if (checked) in.be(4);
  if (in.ran_out()) return Step::need_more;
  if (!in.ok() || index >= states_.size() || (checked && nut::crc32(bytes.first(in.position())) != 0))
    return lose_sync();

  StreamState& state = states_[index];
  const std::int64_t last = state.last_pts;
  std::int64_t pts = 0;
  const std::uint64_t full = std::uint64_t{1} << state.msb_pts_shift;
  if ((flags & nut::kFlagCodedPts) == 0) {
    pts = static_cast<std::int64_t>(static_cast<std::uint64_t>(last) + static_cast<std::uint64_t>(code.pts_delta));
  } else if (coded_pts >= full) {
    pts = static_cast<std::int64_t>(coded_pts - full);
  } else {
    // The value nearest to the last one whose low bits these are.
    const std::uint64_t base = static_cast<std::uint64_t>(last) - (full - 1) / 2;
    pts = static_cast<std::int64_t>(((coded_pts - base) & (full - 1)) + base);
  }
  if (size_msb > kMaxFrameBytes || code.size_mul > kMaxFrameBytes || code.size_lsb > kMaxFrameBytes) return lose_sync();
  std::uint64_t size = code.size_lsb + size_msb * code.size_mul;
  const auto distance =
      static_cast<std::uint64_t>(pts > last ? pts : last) - static_cast<std::uint64_t>(pts > last ? last : pts);
  // Frames like these must carry a checksum, so one without is not what its header says.
  const bool implausible = size > 2 * max_distance_ || distance > state.max_pts_distance;
  if (size > kMaxFrameBytes || (implausible && !checked)) return lose_sync();
  if (size > nut::kLongPacketBytes) header_index = 0;
  if (header_index >= elision_headers_.size()) return lose_sync();
  const ByteBuffer& elided = elision_headers_[header_index];
  if (size < elided.size()) return lose_sync();
  size -= elided.size();
  if (in.left() < size) return Step::need_more;
  ByteView data = in.take(size);
  const std::size_t whole = in.position();
  if ((flags & nut::kFlagSideData) != 0) {
    nut::NumberReader side(data);
    if (!skip_named_values(side) || !skip_named_values(side)) return lose_sync();
    data = data.subspan(side.position());
  }
  state.last_pts = pts;
  if ((flags & nut::kFlagEor) != 0) {
    head_ += whole;
    return Step::again;
  }
  if (!elided.empty()) {
    joined_ = elided;
    append(joined_, data);
    data = joined_;
  }
  release_ = whole;
  packet = {static_cast<std::uint32_t>(index), pts, (flags & nut::kFlagKey) != 0, data};
  return Step::frame;
}

NutReader::Step NutReader::lose_sync() {
  lost_ = true;
  ++damaged_bytes_;
  ++head_;
  return Step::again;
}

NutReader::Step NutReader::find_sync() {
  const ByteView bytes = unread();
  std::uint8_t wanted[8];
  store_be(wanted, nut::kSyncpointStart, 8);
  const auto found = std::search(bytes.begin(), bytes.end(), std::begin(wanted), std::end(wanted));
  const auto skipped = static_cast<std::size_t>(found - bytes.begin());
  if (found == bytes.end()) {
    const std::size_t dropped = bytes.size() - std::min<std::size_t>(bytes.size(), 7);
    damaged_bytes_ += dropped;
    head_ += dropped;
    return Step::need_more;
  }
  damaged_bytes_ += skipped;
  head_ += skipped;
  // A startcode by chance or with a damaged packet behind it loses the search again, one byte further on.
  lost_ = false;
  return Step::again;
}

}  // namespace mc::media
