// The words of the NUT container that reader and writer share (the NUT specification, "nut.txt", version 3 of the
// format). What NUT carries between mc-capture and mc-mux is described in mc-nut(5).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.hpp"

namespace mc::media::nut {

// The first 25 bytes of a stream; the closing zero belongs to it.
inline constexpr std::string_view kFileId{"nut/multimedia container", 25};

inline constexpr std::uint64_t kMainStart = 0x4E4D7A561F5F04AD;
inline constexpr std::uint64_t kStreamStart = 0x4E5311405BF2F9DB;
inline constexpr std::uint64_t kSyncpointStart = 0x4E4BE4ADEECA4569;
inline constexpr std::uint64_t kIndexStart = 0x4E58DD672F23E64E;
inline constexpr std::uint64_t kInfoStart = 0x4E49AB68B596BA78;

// frame_flags
inline constexpr std::uint64_t kFlagKey = 1;
inline constexpr std::uint64_t kFlagEor = 2;  // the stream pauses here; no data
inline constexpr std::uint64_t kFlagCodedPts = 8;
inline constexpr std::uint64_t kFlagStreamId = 16;
inline constexpr std::uint64_t kFlagSizeMsb = 32;
inline constexpr std::uint64_t kFlagChecksum = 64;
inline constexpr std::uint64_t kFlagReserved = 128;
inline constexpr std::uint64_t kFlagSideData = 256;  // version 4
inline constexpr std::uint64_t kFlagHeaderIndex = 1024;
inline constexpr std::uint64_t kFlagMatchTime = 2048;
inline constexpr std::uint64_t kFlagCoded = 4096;
inline constexpr std::uint64_t kFlagInvalid = 8192;

inline constexpr std::uint64_t kClassVideo = 0, kClassAudio = 1, kClassSubtitles = 2, kClassUserData = 3;

// Packets whose forward pointer is larger carry a checksum of their header as well.
inline constexpr std::uint64_t kLongPacketBytes = 4096;

// Polynomial 0x04C11DB7, most significant bit first, initial value 0. `crc` continues an earlier call. Over data and
// its own big-endian checksum the result is 0.
std::uint32_t crc32(ByteView bytes, std::uint32_t crc = 0);

// Reads the format's numbers. After the first read past the end, or of a number above 64 bits, everything is 0 and
// ok() is false.
class NumberReader {
 public:
  explicit NumberReader(ByteView bytes) : bytes_(bytes) {}
  std::uint64_t v();  // 7 bits a byte, the most significant first, bit 7 = more follows
  std::int64_t s();
  std::uint64_t be(std::size_t n);
  ByteView take(std::uint64_t n);
  ByteView vb() { return take(v()); }
  bool ok() const { return !short_ && !too_large_; }
  bool ran_out() const { return short_; }  // more bytes may help
  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }

 private:
  ByteView bytes_;
  std::size_t position_ = 0;
  bool short_ = false;
  bool too_large_ = false;
};

void append_v(ByteBuffer& out, std::uint64_t value);
void append_s(ByteBuffer& out, std::int64_t value);
void append_vb(ByteBuffer& out, ByteView bytes);
// A whole packet: startcode, forward pointer, `payload`, checksums.
void append_packet(ByteBuffer& out, std::uint64_t startcode, ByteView payload);

}  // namespace mc::media::nut
