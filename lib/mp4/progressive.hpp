// The head of a progressive file: ftyp + moov with every sample's time, size and place, and the header of the one mdat
// that follows (ISO/IEC 14496-12 8.1 to 8.7). Its exact bytes are known before the first byte of media is copied, so
// that a file can be written in one pass and a server can answer ranges of it.
//
//   ProgressiveWriter writer(movie);
//   for each fragment, in the order in which its bytes will stand in the mdat:
//     writer.add(sample, position)…           // decode order per track; position counts from the mdat's payload
//     writer.end_chunk();                     // where samples of the tracks interleave
//   ByteBuffer head = writer.head(payload_bytes);   // then the payload itself, and the file is complete
//
// Times. Decode times of fragments are absolute (ticks since the recording's t0); a sample table knows only durations.
// A sample's duration is therefore the distance to the next decode time of its track, whatever its fragment said; only
// the last sample of a track keeps its own. A hole becomes a stretched duration, or, past 2^31 - 1 ticks, an edit.
// Where a track begins on the common timeline is kept by an empty edit (8.6.6); the movie's timescale is the least
// common multiple of the tracks' (as far as 31 bits reach), so that each offset is exact in ticks of its track.
//
// Memory: about 12 bytes a sample. Tracks without samples are left out. Not for two threads at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mp4/fragment.hpp"

namespace mc::mp4 {

class ProgressiveWriter {
 public:
  explicit ProgressiveWriter(Movie movie);

  // `sample.size_bytes` bytes at `position` of the mdat's payload. Kind damaged: a track or description that the movie
  // has not, a decode time before the previous one's, more than 2^32 - 1 samples.
  Status add(const Sample& sample, std::uint64_t position);
  // The next sample of each track begins a new chunk of the sample table.
  void end_chunk();

  // A chapter that begins `start_ns` after time 0. Titles are UTF-8, cut to 255 bytes; there is room for
  // kMaxChapters, in `udta`/`chpl` as Nero wrote it, which players and FFmpeg read.
  static constexpr std::size_t kMaxChapters = 255;
  bool add_chapter(std::int64_t start_ns, std::string title);  // false: no room

  // ftyp + moov + the mdat header for `payload_bytes` of payload. May be called at any time; changes nothing.
  ByteBuffer head(std::uint64_t payload_bytes) const;

  std::uint64_t samples(TrackKind kind) const;  // added so far
  double duration_seconds() const;              // of the presentation, from t0 on

 private:
  struct TimeRun {
    std::uint32_t count = 0;
    std::uint32_t duration = 0;
  };
  struct OffsetRun {
    std::uint32_t count = 0;
    std::int64_t offset = 0;
  };
  struct Chunk {
    std::uint64_t position = 0;
    std::uint32_t samples = 0;
    std::uint32_t description = 0;
  };
  // A stretch of the media timeline (which begins at 0 with the first sample, and leaves out what lies between two
  // segments) and where it lies: presentation = composition + shift. All in ticks of the track.
  struct Segment {
    std::int64_t shift = 0;
    std::int64_t first_composition = 0;
    std::int64_t end_composition = 0;
  };
  struct Edit {
    std::int64_t duration = 0;     // ticks of the track
    std::int64_t media_time = -1;  // -1: an empty edit
  };
  struct Table {
    Track track;
    std::vector<TimeRun> times;  // without the last sample's
    std::vector<OffsetRun> offsets;
    std::vector<std::uint32_t> sizes;
    std::vector<std::uint32_t> sync;  // numbers of the sync samples, from 1
    std::vector<Chunk> chunks;
    std::vector<Segment> segments;
    bool chunk_open = false;
    std::uint64_t chunk_end = 0;        // position behind the open chunk's last byte
    std::uint64_t first_decode = 0;     // of the first sample, absolute
    std::uint64_t last_decode = 0;      // of the last sample, absolute
    std::uint32_t last_duration = 0;    // its own
    std::int64_t last_composition = 0;  // media timeline
    std::int64_t media_end = 0;         // media time of the last sample's decode time

    void add_duration(std::uint32_t duration);
    void extend_segment(std::int64_t end_composition);
    std::int64_t composition_shift() const;  // added to every composition offset so that no edit starts below 0
    std::uint64_t media_duration() const;
    std::vector<Edit> edits() const;
    std::uint64_t presentation_ticks() const;
  };

  std::uint32_t movie_timescale() const;
  void write_ftyp(ByteBuffer& out) const;
  void write_moov(std::uint64_t payload_position, ByteBuffer& out, bool wide) const;
  static void write_trak(const Table& table, std::uint32_t movie_timescale, std::uint64_t payload_position, bool wide,
                         ByteBuffer& out);
  static void write_sample_table(const Table& table, std::uint64_t payload_position, bool wide, ByteBuffer& out);

  void write_chapters(ByteBuffer& out) const;

  struct Chapter {
    std::int64_t start_ns = 0;
    std::string title;
  };
  std::vector<Table> tables_;
  std::vector<Chapter> chapters_;
};

}  // namespace mc::mp4
