// Where a chunk ends: the one rule, used by whoever cuts (design: "Chunks").
//
// Cut before the first key frame of the picture at or past the next whole second of the timeline (not "a second after
// the last cut": two milliseconds of jitter would then make most chunks two seconds long); sound alone at whole
// seconds; forced after 10 s or 16 MiB. The boundary is a position in the stream: sound that arrives later belongs to
// the next chunk whatever its time, and no track is waited for.
#pragma once

#include <cstdint>

#include "mp4/fragment.hpp"

namespace mc::mp4 {

class CutRule {
 public:
  static constexpr std::uint64_t kMaxSeconds = 10;
  static constexpr std::uint64_t kMaxBytes = 16U << 20;

  explicit CutRule(const Movie& movie);

  // Is `sample` the first of a new chunk? Always true for the very first sample. The answer is remembered: call it
  // once per sample, in stream order, for every sample of every track.
  // A key frame within half a nominal interval (at most 20 ms) before the whole second counts as on it, so that a
  // jittered camera's second stays a second.
  bool starts_chunk(const Sample& sample);

 private:
  std::uint32_t reference_id_ = 0;
  std::uint32_t timescale_ = 1;
  std::uint64_t tolerance_ticks_ = 0;
  bool open_ = false;
  bool need_sync_ = false;       // the reference is a picture
  std::uint64_t cut_second_ = 0; // index of the whole second that the open chunk began at or after
  std::uint64_t start_ticks_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace mc::mp4
