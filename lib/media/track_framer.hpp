// The packets of one stream, made into the frames of one MP4 track: framing, key frames, sample entries, time stamps in
// the track's timescale. It knows nothing of the other tracks or of t0.
//
//   TrackFramer framer(stream, time_stamps);
//   MC_TRY_ASSIGN(auto frame, framer.take(packet));   // nothing: cannot be shown (before the first key frame, damaged)
//   framer.descriptions()                              // grows by one when the frame says description_changed
//
// Times are the packet's ticks times the numerator of its time base, so a track's timescale is the denominator and
// nothing is rounded.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "media/stream.hpp"
#include "mp4/codec.hpp"

namespace mc::media {

struct Frame {
  ByteBuffer data;
  std::int64_t pts = 0;  // ticks of the track
  bool key = false;
  std::uint32_t description = 1;  // 1-based index into descriptions()
  bool description_changed = false;
};

// Packets that could not become frames, for the ledger: from the first such packet to the frame that ended it.
struct Dropped {
  const char* reason = "";
  std::int64_t from = 0;
  std::int64_t to = 0;
};

class TrackFramer {
 public:
  explicit TrackFramer(Stream stream);

  const Stream& stream() const { return stream_; }
  bool is_picture() const { return stream_.kind == StreamKind::picture; }
  std::uint32_t timescale() const { return timescale_; }
  std::int64_t nominal_ticks() const { return nominal_ticks_; }  // declared, or the codec's frame; 0 = variable
  std::int64_t guessed_ticks() const;                            // > 0: to extrapolate with
  std::int64_t priming_ticks() const;
  std::uint32_t decode_delay() const { return stream_.decode_delay; }

  // `arrival_ticks` replaces the packet's time stamp (in track ticks). Kind damaged: no time stamp and no way to tell.
  Result<std::optional<Frame>> take(const Packet& packet, std::optional<std::int64_t> arrival_ticks, const Log& log);
  // What was dropped before the frame that take() just gave, if anything; asked once.
  std::optional<Dropped> take_dropped();

  bool is_described() const { return !descriptions_.empty(); }
  // For a stream that is still silent: the sample entry from what the container says, if that is enough.
  bool describe_without_packet();
  const std::vector<ByteBuffer>& descriptions() const { return descriptions_; }
  // The parameters as completed by the packets.
  const mp4::CodecParameters& parameters() const { return *stream_.parameters; }

 private:
  Result<std::int64_t> time_of(const Packet& packet, std::optional<std::int64_t> arrival_ticks);
  Result<std::optional<Frame>> take_picture(const Packet& packet, std::int64_t pts, const Log& log);
  Result<std::optional<Frame>> take_sound(const Packet& packet, std::int64_t pts, const Log& log);
  void drop(std::int64_t pts, const char* reason);
  bool describe(ByteBuffer entry);   // true: it is a new one
  std::uint32_t sound_rate() const;  // that packet_samples counts in

  Stream stream_;
  std::uint32_t timescale_ = 1;
  std::int64_t nominal_ticks_ = 0;
  bool strip_adts_ = false;
  std::optional<mp4::NalFramer> nals_;
  std::vector<ByteBuffer> descriptions_;
  std::uint32_t description_ = 1;
  bool seen_packet_ = false;
  bool seen_key_ = false;
  bool warned_ = false;
  std::optional<std::int64_t> next_pts_;  // where a packet without a time stamp would go
  std::optional<Dropped> dropping_;       // `to` is still open
  std::optional<Dropped> dropped_;
};

}  // namespace mc::media
