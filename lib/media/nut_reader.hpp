// Reads a NUT stream as it arrives, in pieces of any size (mc-nut(5); the NUT specification, "nut.txt").
//
//   NutReader reader;
//   const auto room = reader.room();                 // where the next bytes go; read(2) straight into it
//   reader.commit(n);                                // n of them have come
//   while (auto packet = reader.next()) { … }        // Result<optional<Packet>>: nothing = needs more bytes
//   reader.finish();                                 // at the end of input: how it ended
//
// Time stamps come out exactly as they are coded. Memory is flat: a buffer of the size of the largest packet, no index,
// no list of syncpoints (libavformat's reader keeps those and grows by about 40 MB an hour).
//
// Damage: header packets are checked by their checksums, frames by theirs where they have one. Damage in the main or a
// stream header is an error (kind damaged), and the reader stays at it. Damage behind the headers costs the bytes up to
// the next syncpoint: the reader goes on there, and End::damaged_bytes says how much that was. A last packet that is
// not whole is not given; its bytes are End::torn_bytes.
//
// Not for two threads at once.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "media/nut_format.hpp"
#include "media/stream.hpp"

namespace mc::media {

class NutReader {
 public:
  static constexpr std::size_t kReadBytes = 256U << 10;        // what room() offers at least
  static constexpr std::uint64_t kMaxFrameBytes = 64U << 20;   // a larger frame is damage
  static constexpr std::uint64_t kMaxHeaderBytes = 16U << 20;  // likewise a larger header packet
  static constexpr std::uint64_t kMaxStreams = 64;

  std::span<std::uint8_t> room();
  void commit(std::size_t bytes);
  void push(ByteView bytes);  // room() and commit() for bytes that are already somewhere

  // The next frame, valid until the next call of room(), push() or next(). Before the first frame the streams and tags
  // are complete. EOR markers are left out.
  Result<std::optional<Packet>> next();

  bool has_headers() const { return ready_; }
  const std::vector<Stream>& streams() const { return streams_; }
  const Tags& tags() const { return tags_; }  // of the whole stream; those of a stream are in it

  struct End {
    bool saw_headers = false;
    std::uint64_t torn_bytes = 0;
    std::uint64_t damaged_bytes = 0;
  };
  End finish() const;

 private:
  struct FrameCode {
    std::uint64_t flags = nut::kFlagInvalid;
    std::uint64_t stream = 0;
    std::uint64_t size_mul = 1;
    std::uint64_t size_lsb = 0;
    std::int64_t pts_delta = 0;
    std::uint64_t reserved = 0;
    std::uint64_t header_index = 0;
  };
  struct StreamState {
    bool described = false;
    std::size_t time_base = 0;
    std::uint32_t msb_pts_shift = 0;
    std::uint64_t max_pts_distance = 0;
    std::int64_t last_pts = 0;
  };
  enum class Step : std::uint8_t { need_more, again, frame };

  std::span<std::uint8_t> make_room(std::size_t bytes);
  ByteView unread() const { return ByteView(buffer_.data() + head_, tail_ - head_); }
  Result<Step> step(Packet& packet);
  Result<Step> read_header_packet();
  Result<Step> read_frame(Packet& packet);
  Status read_main_header(ByteView payload);
  Status read_frame_codes(nut::NumberReader& in);
  Status read_stream_header(ByteView payload);
  void read_info(ByteView payload);
  Status read_syncpoint(ByteView payload);
  Step lose_sync();  // damage behind the headers
  Step find_sync();

  ByteBuffer buffer_;
  std::size_t head_ = 0;     // first unread byte
  std::size_t tail_ = 0;     // end of what has come
  std::size_t release_ = 0;  // bytes of the packet given last, to be dropped at the next call
  bool saw_id_ = false;
  bool saw_main_ = false;
  bool ready_ = false;  // all headers, and a first syncpoint
  bool lost_ = false;   // looking for a syncpoint
  std::optional<Error> failed_;
  std::uint64_t damaged_bytes_ = 0;

  std::uint64_t version_ = 0;
  std::uint64_t max_distance_ = 0;
  std::uint64_t main_flags_ = 0;
  std::vector<TimeBase> time_bases_;
  std::array<FrameCode, 256> frame_codes_;
  std::vector<ByteBuffer> elision_headers_;  // index 0 is empty
  std::vector<StreamState> states_;
  std::vector<Stream> streams_;
  Tags tags_;
  ByteBuffer joined_;  // a frame behind its elision header
};

}  // namespace mc::media
