// Reads a fragmented MP4 as it arrives, in pieces of any size, and gives what it means.
//
//   StreamParser parser;
//   parser.push(bytes);                       // as often as bytes come
//   while (auto item = parser.next()) { … }   // Result<optional<Item>>: nothing = needs more bytes
//   parser.finish();                          // at the end of input: says whether it ended between boxes
//
// Memory: one moof and its mdat, at most kMaxFragmentBytes. Unknown boxes are skipped without being kept. After an
// error the parser stays at it. Not for two threads at once.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <variant>

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

  // How the input ended. `torn_bytes` are left of a box or a fragment that never became whole.
  struct End {
    std::uint64_t torn_bytes = 0;
    bool saw_init = false;
  };
  End finish() const;

 private:
  Status take_box(ByteView box, std::uint64_t offset);
  Status take_fragment();

  ByteBuffer buffer_;
  std::size_t head_ = 0;            // first unread byte of buffer_
  std::uint64_t offset_ = 0;        // stream position of that byte
  std::uint64_t skip_bytes_ = 0;    // of an unknown box, still to be dropped
  std::optional<Error> failed_;
  std::optional<Movie> movie_;
  std::vector<std::uint64_t> track_end_;
  std::vector<LocatedSample> pending_;   // of the last moof, waiting for their bytes
  std::deque<Item> items_;
};

}  // namespace mc::mp4
