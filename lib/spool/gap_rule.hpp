// What counts as a hole in a track, in one place: the writer ledgers by it and `verify` judges by it.
//
// A sample's successor is expected one nominal interval later (Track::nominal_duration: the picture's declared
// interval, the codec's frame for sound). Later than 1.5 times that is a hole, from where the sample's nominal duration
// ends to where the successor begins. A track without a declared interval (0: variable frame rate) has a hole only
// where 1.5 s pass without a frame; it then begins at the sample's own decode time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "mp4/movie.hpp"
#include "wire/manifest.hpp"

namespace mc::spool {

struct Hole {
  std::uint64_t from = 0, to = 0;  // decode times, ticks of the track
  bool operator==(const Hole&) const = default;
};

inline std::optional<Hole> hole_between(const mp4::Track& track, std::uint64_t decode_time, std::uint64_t next) {
  if (next <= decode_time) return std::nullopt;
  const std::uint64_t distance = next - decode_time;
  const std::uint64_t longest = track.nominal_duration > 0 ? std::uint64_t{track.nominal_duration} * 3 / 2
                                                           : std::uint64_t{track.timescale} * 3 / 2;
  if (distance <= longest) return std::nullopt;
  return Hole{decode_time + track.nominal_duration, next};
}

inline wire::GapLine to_gap_line(const mp4::Track& track, const Hole& hole, std::string reason) {
  return {track.id,
          {static_cast<std::int64_t>(hole.from), track.timescale},
          {static_cast<std::int64_t>(hole.to), track.timescale},
          std::move(reason)};
}

// Is [from, to) made up of gap lines, the next beginning where the one before ends?
inline bool is_ledgered(const std::vector<wire::GapLine>& gaps, const mp4::Track& track, const Hole& hole) {
  std::uint64_t at = hole.from;
  while (at < hole.to) {
    const auto found = std::ranges::find_if(gaps, [&](const wire::GapLine& gap) {
      return gap.track == track.id && gap.from == MediaTime{static_cast<std::int64_t>(at), track.timescale} &&
             gap.to.timescale == track.timescale && gap.to.ticks > gap.from.ticks &&
             static_cast<std::uint64_t>(gap.to.ticks) <= hole.to;
    });
    if (found == gaps.end()) return false;
    at = static_cast<std::uint64_t>(found->to.ticks);
  }
  return true;
}

}  // namespace mc::spool
