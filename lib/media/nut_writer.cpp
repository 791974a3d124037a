#include "media/nut_writer.hpp"

#include <algorithm>

#include "media/nut_format.hpp"

namespace mc::media {
namespace {

constexpr std::uint64_t kVersion = 3;
constexpr std::uint64_t kMaxDistance = 32768;
constexpr std::uint8_t kKeyCode = 1, kOtherCode = 2;
constexpr std::uint64_t kFrameFlags = nut::kFlagStreamId | nut::kFlagCodedPts | nut::kFlagSizeMsb | nut::kFlagChecksum;

// What libavformat takes for the codec; sound by its WAVE format tag where there is no fourcc of its own.
std::string_view fourcc(const Stream& stream) {
  if (stream.kind == StreamKind::events) return "mcev";
  switch (stream.parameters->codec) {
    case mp4::Codec::h264: return "H264";
    case mp4::Codec::hevc: return "HEVC";
    case mp4::Codec::av1: return "AV01";
    case mp4::Codec::vp9: return "VP90";
    case mp4::Codec::aac: return {"\xFF\0\0\0", 4};
    case mp4::Codec::opus: return "Opus";
    case mp4::Codec::flac: return {"\xAC\xF1\0\0", 4};
  }
  return "";
}

}  // namespace

NutWriter::NutWriter(std::vector<Stream> streams, Tags tags) : streams_(std::move(streams)), tags_(std::move(tags)) {
  for (Stream& stream : streams_) {
    if (stream.nominal_ticks > 0) stream.tags["maycast-nominal"] = std::to_string(stream.nominal_ticks);
    if (stream.priming_samples) stream.tags["maycast-priming"] = std::to_string(*stream.priming_samples);
    const auto known = std::find(time_bases_.begin(), time_bases_.end(), stream.time_base);
    time_base_of_.push_back(static_cast<std::size_t>(known - time_bases_.begin()));
    if (known == time_bases_.end()) time_bases_.push_back(stream.time_base);
  }
}

ByteBuffer NutWriter::header() {
  ByteBuffer out;
  append(out, as_bytes(nut::kFileId));
  write_main_header(out);
  for (std::size_t i = 0; i < streams_.size(); ++i) write_stream_header(out, i);
  write_info(out, 0, tags_);
  for (std::size_t i = 0; i < streams_.size(); ++i) write_info(out, i + 1, streams_[i].tags);
  position_ = out.size();
  return out;
}

void NutWriter::write_main_header(ByteBuffer& out) const {
  ByteBuffer payload;
  nut::append_v(payload, kVersion);
  nut::append_v(payload, streams_.size());
  nut::append_v(payload, kMaxDistance);
  nut::append_v(payload, time_bases_.size());
  for (const TimeBase& base : time_bases_) {
    nut::append_v(payload, static_cast<std::uint64_t>(base.numerator));
    nut::append_v(payload, static_cast<std::uint64_t>(base.denominator));
  }
  // The frame code table: two codes that say everything in the frame itself, the rest invalid.
  const auto codes = [&payload](std::uint64_t flags, std::uint64_t count) {
    nut::append_v(payload, flags);
    nut::append_v(payload, 6);  // fields that follow
    nut::append_s(payload, 0);  // pts_delta
    nut::append_v(payload, 1);  // data_size_mul
    nut::append_v(payload, 0);  // stream_id
    nut::append_v(payload, 0);  // data_size_lsb
    nut::append_v(payload, 0);  // reserved_count
    nut::append_v(payload, count);
  };
  codes(nut::kFlagInvalid, 1);
  codes(kFrameFlags | nut::kFlagKey, 1);
  codes(kFrameFlags, 1);
  codes(nut::kFlagInvalid, 256 - 3 - 1);  // 'N' is not counted
  nut::append_v(payload, 0);              // no elision headers
  nut::append_packet(out, nut::kMainStart, payload);
}

void NutWriter::write_stream_header(ByteBuffer& out, std::size_t index) const {
  const Stream& stream = streams_[index];
  ByteBuffer payload;
  nut::append_v(payload, index);
  nut::append_v(payload, stream.kind == StreamKind::picture ? nut::kClassVideo
                         : stream.kind == StreamKind::sound ? nut::kClassAudio
                                                            : nut::kClassUserData);
  nut::append_vb(payload, as_bytes(fourcc(stream)));
  nut::append_v(payload, time_base_of_[index]);
  nut::append_v(payload, 0);  // msb_pts_shift: time stamps are always whole
  nut::append_v(payload, static_cast<std::uint64_t>(stream.time_base.denominator / stream.time_base.numerator + 1));
  nut::append_v(payload, stream.decode_delay);
  nut::append_v(payload, 0);  // stream_flags
  nut::append_vb(payload, stream.parameters ? ByteView(stream.parameters->extradata) : ByteView());
  if (stream.kind == StreamKind::picture) {
    nut::append_v(payload, stream.parameters->width);
    nut::append_v(payload, stream.parameters->height);
    nut::append_v(payload, stream.parameters->sar_numerator);
    nut::append_v(payload, stream.parameters->sar_denominator);
    nut::append_v(payload, 0);  // colorspace: not said
  } else if (stream.kind == StreamKind::sound) {
    nut::append_v(payload, stream.parameters->sample_rate);
    nut::append_v(payload, 1);
    nut::append_v(payload, stream.parameters->channels);
  }
  nut::append_packet(out, nut::kStreamStart, payload);
}

void NutWriter::write_info(ByteBuffer& out, std::uint64_t stream_plus_1, const Tags& tags) const {
  if (tags.empty()) return;
  ByteBuffer payload;
  nut::append_v(payload, stream_plus_1);
  for (int i = 0; i < 3; ++i) nut::append_v(payload, 0);  // not a chapter: id, start, length
  nut::append_v(payload, tags.size());
  for (const auto& [key, value] : tags) {
    nut::append_vb(payload, as_bytes(key));
    nut::append_s(payload, -1);  // UTF-8 text
    nut::append_vb(payload, as_bytes(value));
  }
  nut::append_packet(out, nut::kInfoStart, payload);
}

void NutWriter::write_syncpoint(ByteBuffer& out, std::size_t stream, std::uint64_t pts) {
  const std::uint64_t here = position_ + out.size();
  ByteBuffer payload;
  nut::append_v(payload, pts * time_bases_.size() + time_base_of_[stream]);
  nut::append_v(payload, any_packet_ ? (here - last_key_syncpoint_) >> 4 : 0);
  nut::append_packet(out, nut::kSyncpointStart, payload);
  last_syncpoint_ = here;
}

Result<ByteBuffer> NutWriter::packet(const Packet& packet) {
  if (packet.stream >= streams_.size() || !packet.pts || *packet.pts < 0) {
    return fail(ErrorKind::bug, "a packet that NUT cannot carry");
  }
  const auto pts = static_cast<std::uint64_t>(*packet.pts);
  ByteBuffer out;
  out.reserve(packet.data.size() + 64);
  const bool key_picture = packet.key && streams_[packet.stream].kind == StreamKind::picture;
  if (!any_packet_ || key_picture || position_ - last_syncpoint_ + packet.data.size() > kMaxDistance) {
    write_syncpoint(out, packet.stream, pts);
    if (key_picture || !any_packet_) last_key_syncpoint_ = last_syncpoint_;
    any_packet_ = true;
  }
  const std::size_t start = out.size();
  out.push_back(packet.key ? kKeyCode : kOtherCode);
  nut::append_v(out, packet.stream);
  nut::append_v(out, pts + 1);  // with a shift of 0, values from 1 on are whole time stamps plus 1
  nut::append_v(out, packet.data.size());
  append_be(out, nut::crc32(ByteView(out).subspan(start)), 4);
  append(out, packet.data);
  position_ += out.size();
  return out;
}

}  // namespace mc::media
