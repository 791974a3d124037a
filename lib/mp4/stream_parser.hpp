// Reads a fragmented MP4 as it arrives, in pieces of any size, and gives what it means.
//
//   StreamParser parser;
//   parser.push(bytes);                       // as often as bytes come
//   while (auto item = parser.next()) { … }   // Result<optional<Item>>: nothing = needs more bytes
//   parser.finish();                          // at the end of input: says whether it ended between boxes
//
// The samples of a moof may lie anywhere in the mdats between it and the next moof, but must lie there and must not
// overlap. An mdat that lasts to the end of the stream (size 0) is read as far as its samples reach. Unknown boxes
// (sidx, mfra, free, uuid, an mdat without a moof) are skipped without being kept; what cannot be a box is damage.
// A moov with samples of its own (a file that is not, or not only, fragments) is refused: they would be lost silently.
// Memory: one moof and its data, at most kMaxFragmentBytes, besides what one push brought. After an error the parser
// stays at it. Not for two threads at once.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "mp4/box.hpp"
#include "mp4/fragment.hpp"

namespace mc::mp4 {

inline constexpr std::uint64_t kMaxFragmentBytes = 256U << 20;
inline constexpr std::uint64_t kMaxHeaderBoxBytes = 16U << 20;  // moov, moof, emsg, …

struct InitItem {  // ftyp + moov; again when the parameters change
  Movie movie;
};
struct SegmentItem {};  // styp: a cut
struct ProducerTimeItem {
  ProducerTime time;
};
struct EventItem {
  Event event;
};
struct SampleItem {
  Sample sample;
  ByteBuffer data;  // sample.size_bytes of it
};
// Samples of one moof come in order of decode time across its tracks (each track's own order is kept), once the whole
// mdat is there, so that a fragment of many seconds can be cut at any key frame.
using Item = std::variant<InitItem, SegmentItem, ProducerTimeItem, EventItem, SampleItem>;

class StreamParser {
 public:
  void push(ByteView bytes);
  Result<std::optional<Item>> next();

  // How many more bytes complete the box at hand and the header of the next one, at least 1. Who reads no more than
  // that at a time never holds more than one fragment that could be lost with it.
  std::uint64_t wanted() const;

  // How the input ended. `torn_bytes` are left of a box or a fragment that never became whole.
  struct End {
    std::uint64_t torn_bytes = 0;
    bool saw_init = false;
  };
  End finish() const;

 private:
  struct Stash {  // an mdat that did not yet complete its fragment
    std::uint64_t offset = 0;
    ByteBuffer payload;
  };

  Result<std::optional<Item>> advance_to_item();
  Result<bool> read_box();
  Status take_box(FourCc type, ByteView box);
  Status take_moof(ByteView moof);
  Result<bool> take_data(ByteView left, const BoxHeader& header);
  ByteView locate(const LocatedSample& located, std::uint64_t start, ByteView payload) const;
  Item emit_sample();
  void end_fragment();
  void advance(std::uint64_t bytes);
  std::uint64_t end_of_track(std::uint32_t track_id) const;

  ByteBuffer buffer_;
  std::size_t head_ = 0;          // first unread byte of buffer_
  std::uint64_t offset_ = 0;      // stream position of that byte
  std::uint64_t skip_bytes_ = 0;  // of a box nobody wants, still to come
  std::uint64_t box_start_ = 0;   // of the box being read or skipped
  std::optional<Error> failed_;
  std::optional<Movie> movie_;
  std::vector<std::uint64_t> track_end_;  // by index in movie_->tracks
  std::optional<Item> item_;              // read, not yet given out

  std::vector<LocatedSample> pending_;  // of the last moof
  std::uint64_t fragment_start_ = 0;    // position of that moof
  std::uint64_t sample_bytes_ = 0;      // sum over pending_
  std::vector<Stash> stash_;
  std::uint64_t stashed_bytes_ = 0;

  bool emitting_ = false;  // the mdat at head_ is whole: pending_ is given out from next_sample_ on
  std::size_t next_sample_ = 0;
  std::uint64_t data_start_ = 0;  // stream position of its payload
  std::size_t data_bytes_ = 0;
  std::size_t data_header_bytes_ = 0;
  bool data_to_end_ = false;
};

}  // namespace mc::mp4
