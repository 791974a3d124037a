// Writes a NUT stream for a pipe (mc-nut(5); the NUT specification, "nut.txt", version 3 of the format): no index, no
// back pointers into what is gone, nothing kept per packet, so memory is flat however long it runs.
//
//   NutWriter writer(streams, tags);
//   out = writer.header();                       // file id, main header, stream headers, tags
//   out = writer.packet(packet);                 // one frame, whole; write it with one write(2)
//
// It makes bytes and writes nothing itself. Every frame carries its full time stamp and a checksum, so a reader notices
// damage at once and finds its way again at the next syncpoint: before each key frame of a picture, and at the latest
// 32 KiB behind the last one. libavformat reads it. Not for two threads at once.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.hpp"
#include "media/stream.hpp"

namespace mc::media {

class NutWriter {
 public:
  // Streams of kind picture, sound (with parameters) or events. tags of a stream are written with it, and
  // `maycast-nominal` and `maycast-priming` from its fields.
  NutWriter(std::vector<Stream> streams, Tags tags);

  ByteBuffer header();
  // packet.pts must be there and not be negative (NUT has no negative time stamps): kind bug.
  Result<ByteBuffer> packet(const Packet& packet);

 private:
  void write_main_header(ByteBuffer& out) const;
  void write_stream_header(ByteBuffer& out, std::size_t index) const;
  void write_info(ByteBuffer& out, std::uint64_t stream_plus_1, const Tags& tags) const;
  void write_syncpoint(ByteBuffer& out, std::size_t stream, std::uint64_t pts);

  std::vector<Stream> streams_;
  Tags tags_;
  std::vector<TimeBase> time_bases_;
  std::vector<std::size_t> time_base_of_;
  std::uint64_t position_ = 0;
  std::uint64_t last_syncpoint_ = 0;
  std::uint64_t last_key_syncpoint_ = 0;
  bool any_packet_ = false;
};

}  // namespace mc::media
