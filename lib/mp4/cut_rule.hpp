// Where a chunk ends: the one rule, used by whoever cuts (design: "Chunks").
//
// With a picture (the reference is movie.reference()):
// - cut before the first key frame at or past the next whole second of the timeline of decode times. A key frame within
//   half a nominal interval (at most 20 ms, and 20 ms when no interval is declared) before the whole second counts as
//   on it; so does one that comes a second less that tolerance after the chunk's first sample, so that key frames whose
//   jitter straddles the edge of the tolerance still give chunks of a second;
// - a chunk of more than 16 MiB ends at the next key frame, whatever the time;
// - when there is no key frame for 20 s or 32 MiB (twice the limits, so that a stream with a key frame every 10 s is
// still
//   cut at its key frames), it is cut before any sample of any track: such a chunk does not begin with a key frame.
// Sound alone: before the first sample that reaches the next whole second, without a tolerance; after 16 MiB at any.
// A step back of the reference's time begins a new second like a step forward.
// The boundary is a position in the stream: sound that arrives later belongs to the next chunk whatever its time, and
// no track is waited for. All arithmetic is in integers.
#pragma once

#include <cstdint>
#include <vector>

#include "mp4/fragment.hpp"

namespace mc::mp4 {

class CutRule {
 public:
  static constexpr std::uint64_t kMaxSeconds = 10;
  static constexpr std::uint64_t kMaxBytes = 16U << 20;

  explicit CutRule(const Movie& movie);

  // Is `sample` the first of a new chunk? Always true for the very first sample. The answer is remembered: call it
  // once per sample, in stream order, for every sample of every track. A sample of a track that `movie` has not counts
  // by its bytes alone.
  bool starts_chunk(const Sample& sample);

 private:
  struct TrackClock {
    std::uint32_t id = 0;
    std::uint32_t timescale = 1;
    std::uint64_t tolerance_ticks = 0;
  };
  const TrackClock* clock_of(const Sample& sample) const;
  bool must_cut(const Sample& sample, const TrackClock* clock) const;

  std::vector<TrackClock> clocks_;
  std::uint32_t reference_id_ = 0;
  bool need_sync_ = false;  // the reference is a picture
  bool open_ = false;
  std::uint64_t second_ = 0;    // the whole second at which the open chunk counts as begun
  std::uint64_t start_us_ = 0;  // decode time of its first sample
  std::uint64_t bytes_ = 0;
};

}  // namespace mc::mp4
