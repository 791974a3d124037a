// The init segment: what ftyp + moov say about the tracks (ISO/IEC 14496-12 8.2 to 8.8), as a model that is read from
// any fragmented file and written in the one form that a recording keeps.
//
// Written form: `ftyp` iso6 (compatible iso6, mp41), `moov` with mvex/trex and no samples; `avc1`/`hvc1` entries;
// one sample description per parameter set seen so far, in order; `elst` only for priming (media_time > 0) or a leading
// offset (empty_edit > 0); version 1 (64-bit) durations, all zero. `write_init(parse_init(x))` is a fixed point, and
// `parse_init(write_init(m))` is `m` where m's width, height, sample rate and channels are those of its descriptions.
// The movie's own timescale is that of the finest track with a leading offset, so that none is rounded; else 1000.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace mc::mp4 {

enum class TrackKind : std::uint8_t { video, audio, other };

struct Track {
  std::uint32_t id = 0;  // > 0
  TrackKind kind = TrackKind::other;
  std::uint32_t timescale = 0;  // ticks per second, > 0
  // The declared interval of the picture, or the codec's frame, in ticks: trex.default_sample_duration. It is what
  // makes a longer sample a hole. 0: variable, nothing declared.
  std::uint32_t nominal_duration = 0;
  // Presentation time = decode time + composition offset - media_time + empty_edit (both in ticks of this track).
  // media_time is the priming (or another program's B-frame delay), empty_edit another program's leading offset.
  std::int64_t media_time = 0;
  std::int64_t empty_edit = 0;
  std::uint16_t width = 0, height = 0;  // picture: pixels as coded; from the first description, else the tkhd
  std::uint32_t sample_rate = 0;        // sound: per second
  std::uint16_t channels = 0;
  std::int16_t roll_distance = 0;  // sound: sgpd 'roll' (14496-12 10.1); 0 = none
  std::string language = "und";    // ISO 639-2/T
  // The rest of trex, for another program's fragments that lean on it; what we write ourselves never does.
  std::uint32_t default_description = 1;
  std::uint32_t default_size_bytes = 0;
  std::uint32_t default_flags = 0;
  std::vector<ByteBuffer> descriptions;  // whole sample entry boxes; index 1 is the first
  bool operator==(const Track&) const = default;
};

struct Movie {
  std::vector<Track> tracks;
  bool operator==(const Movie&) const = default;

  const Track* find(std::uint32_t track_id) const;
  // The track that decides where chunks are cut: the first picture, else the first sound, else null.
  const Track* reference() const;
};

// ftyp + moov appended to `out`.
void write_init(const Movie& movie, ByteBuffer& out);

// From `bytes` that hold a moov (a ftyp before it is skipped). Movies with samples of their own (not fragmented) are
// accepted; their samples are not read. Kind: damaged.
Result<Movie> parse_init(ByteView bytes);
// Has the moov in `bytes` samples in its own tables? Then a reader of fragments alone would lose them.
bool has_own_samples(ByteView bytes);

// The sample entry's type (`avc1`), and the codec string of RFC 6381 ("avc1.64001f") for messages and manifests.
std::uint32_t entry_type(ByteView entry);
std::string codec_string(ByteView entry);

// Folds `next` into `current` for a stream whose parameters changed: the same tracks (id, kind, timescale), every
// description of `current` first and in order, new ones behind. `map[t][i]` says which description (1-based) entry
// i + 1 of track t of `next` has become. Kind refused: the tracks are not the same ones.
struct MergedMovie {
  Movie movie;
  std::vector<std::vector<std::uint32_t>> map;
  bool changed = false;  // false: `current` already had them all
};
Result<MergedMovie> merge(const Movie& current, const Movie& next);

}  // namespace mc::mp4
