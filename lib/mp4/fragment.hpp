// Movie fragments: moof + mdat (ISO/IEC 14496-12 8.8), prft (8.16.5), emsg (23009-1 5.10.3.3), styp (8.16.2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mp4/movie.hpp"

namespace mc::mp4 {

// One coded frame (picture or sound) without its bytes.
struct Sample {
  std::uint32_t track_id = 0;
  std::uint32_t description = 1;        // sample_description_index, 1-based
  std::uint64_t decode_time = 0;        // ticks of the track
  std::uint32_t duration = 0;           // ticks
  std::int32_t composition_offset = 0;  // ticks; may be negative (trun version 1)
  std::uint32_t size_bytes = 0;
  bool sync = true;  // sample_is_non_sync_sample == 0
  bool operator==(const Sample&) const = default;
};

// `styp` with brand msdh.
void write_styp(ByteBuffer& out);

// When the frame at `media_time` of `track_id` was captured (flags 24), as NTP time.
struct ProducerTime {
  std::uint32_t track_id = 0;
  std::uint64_t media_time = 0;  // ticks of the track
  std::int64_t wall_ns = 0;      // since the Unix epoch
};
void write_prft(const ProducerTime& time, ByteBuffer& out);

// An event in band: JSON under the scheme kEventScheme, at a time of the movie's timeline.
inline constexpr char kEventScheme[] = "urn:maycast:event:1";
struct Event {
  std::string scheme = kEventScheme;
  std::uint32_t timescale = 1000;
  std::uint64_t time = 0;  // ticks of `timescale`, on the timeline of the decode times
  std::uint32_t id = 0;
  std::string json;  // message_data
};
void write_emsg(const Event& event, ByteBuffer& out);  // version 1

// moof + the header of an mdat for `samples` of one track, in decode order; the caller appends the samples' bytes in
// the same order (their sizes' sum is the mdat's payload). Gaps between decode times become the durations' business:
// decode_time of the first is tfdt, all others must follow from the durations (checked: kind bug).
// tfdt version 1, default-base-is-moof, one trun version 1.
Status write_fragment_header(std::uint32_t sequence_number, std::span<const Sample> samples, ByteBuffer& out);

// A sample found in a moof, with where its bytes are.
struct LocatedSample {
  Sample sample;
  std::uint64_t offset = 0;  // of its first byte, counted from the start of the stream (or file)
};

// The samples of one moof box, every track's, in the order of the truns. `moof_offset` is the moof's own position in
// the stream. `previous_end[i]` (by index in movie.tracks) is the decode time where the track stood, for a traf
// without tfdt. trex defaults apply. Bounds: at most 1,000,000 samples. Kind: damaged.
Result<std::vector<LocatedSample>> parse_moof(ByteView moof, std::uint64_t moof_offset, const Movie& movie,
                                              std::span<const std::uint64_t> previous_end = {});

Result<ProducerTime> parse_prft(ByteView box);
Result<Event> parse_emsg(ByteView box);  // versions 0 and 1; version 0's time is the delta, to be added by the caller

}  // namespace mc::mp4
