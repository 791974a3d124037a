#include "mp4/progressive.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/units.hpp"
#include "mp4/track_boxes.hpp"

namespace mc::mp4 {
namespace {

constexpr std::uint32_t kMaxDelta = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t kMaxTimescale = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t kMax32 = std::numeric_limits<std::uint32_t>::max();

void put(ByteBuffer& out, std::uint64_t value, std::size_t bytes) { append_be(out, value, bytes); }
std::uint64_t in_movie_time(std::int64_t ticks, std::uint32_t timescale, std::uint32_t movie_timescale) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, rescale(ticks, timescale, movie_timescale)));
}

}  // namespace

ProgressiveWriter::ProgressiveWriter(Movie movie) {
  for (Track& track : movie.tracks) tables_.emplace_back().track = std::move(track);
}

void ProgressiveWriter::Table::add_duration(std::uint32_t duration) {
  if (times.empty() || times.back().duration != duration) times.push_back({0, duration});
  ++times.back().count;
  media_end += duration;
  extend_segment(last_composition + duration);
}

void ProgressiveWriter::Table::extend_segment(std::int64_t end_composition) {
  segments.back().end_composition = std::max(segments.back().end_composition, end_composition);
}

Status ProgressiveWriter::add(const Sample& sample, std::uint64_t position) {
  const auto found =
      std::find_if(tables_.begin(), tables_.end(), [&](const Table& t) { return t.track.id == sample.track_id; });
  if (found == tables_.end()) {
    return fail(ErrorKind::damaged,
                "a sample of track " + std::to_string(sample.track_id) + ", which the init has not");
  }
  Table& table = *found;
  if (sample.description == 0 || sample.description > table.track.descriptions.size()) {
    return fail(ErrorKind::damaged,
                "a sample with description " + std::to_string(sample.description) + ", which the init has not");
  }
  if (table.sizes.size() >= kMax32) return fail(ErrorKind::damaged, "more than 2^32 - 1 samples in a track");
  if (sample.decode_time > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() / 2)) {
    return fail(ErrorKind::damaged, "a decode time beyond any recording");
  }

  const Track& track = table.track;
  bool new_segment = table.sizes.empty();
  if (table.sizes.empty()) {
    table.first_decode = sample.decode_time;
  } else {
    if (sample.decode_time < table.last_decode) {
      return fail(ErrorKind::damaged, "decode times of track " + std::to_string(track.id) + " go back");
    }
    const std::uint64_t distance = sample.decode_time - table.last_decode;
    new_segment = distance > kMaxDelta;
    table.add_duration(new_segment ? table.last_duration : static_cast<std::uint32_t>(distance));
  }
  const std::int64_t composition = table.media_end + sample.composition_offset;
  if (new_segment) {
    const std::int64_t shift =
        static_cast<std::int64_t>(sample.decode_time) - table.media_end - track.media_time + track.empty_edit;
    table.segments.push_back({shift, composition, composition});
  }
  Segment& segment = table.segments.back();
  segment.first_composition = std::min(segment.first_composition, composition);
  segment.end_composition = std::max(segment.end_composition, composition);

  if (table.offsets.empty() || table.offsets.back().offset != sample.composition_offset) {
    table.offsets.push_back({0, sample.composition_offset});
  }
  ++table.offsets.back().count;
  table.sizes.push_back(sample.size_bytes);
  if (sample.sync) table.sync.push_back(static_cast<std::uint32_t>(table.sizes.size()));
  if (!table.chunk_open || table.chunk_end != position || table.chunks.back().description != sample.description) {
    table.chunks.push_back({position, 0, sample.description});
    table.chunk_open = true;
  }
  ++table.chunks.back().samples;
  table.chunk_end = position + sample.size_bytes;
  table.last_decode = sample.decode_time;
  table.last_duration = std::min(sample.duration, kMaxDelta);
  table.last_composition = composition;
  return {};
}

void ProgressiveWriter::end_chunk() {
  for (Table& table : tables_) table.chunk_open = false;
}

std::uint64_t ProgressiveWriter::samples(TrackKind kind) const {
  std::uint64_t n = 0;
  for (const Table& table : tables_) n += table.track.kind == kind ? table.sizes.size() : 0;
  return n;
}

double ProgressiveWriter::duration_seconds() const {
  double longest = 0;
  for (const Table& table : tables_) {
    if (table.sizes.empty()) continue;
    longest = std::max(longest, static_cast<double>(table.presentation_ticks()) / table.track.timescale);
  }
  return longest;
}

std::uint64_t ProgressiveWriter::Table::media_duration() const {
  return static_cast<std::uint64_t>(media_end) + last_duration;
}

// What the recording presents of a segment begins where its init's edit does (priming lies before), or with its first
// frame when that is later. The same function decides the composition offsets' shift and the edits: they must agree.
std::vector<ProgressiveWriter::Edit> ProgressiveWriter::Table::edits() const {
  std::vector<Edit> list;
  std::int64_t position = 0;  // on the presentation timeline
  const std::int64_t raised = composition_shift();
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    const bool last = i + 1 == segments.size();
    const std::int64_t end = last ? std::max(s.end_composition, last_composition + last_duration) : s.end_composition;
    std::int64_t first = s.first_composition;
    if (i == 0) first = std::max(first, track.media_time - static_cast<std::int64_t>(first_decode));
    first = std::max(first, position - s.shift);
    if (first + s.shift > position) list.push_back({first + s.shift - position, -1});
    const std::int64_t duration = std::max<std::int64_t>(0, end - first);
    list.push_back({duration, first + raised});
    position = first + s.shift + duration;
  }
  return list;
}

std::int64_t ProgressiveWriter::Table::composition_shift() const {
  std::int64_t lowest = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    std::int64_t first = segments[i].first_composition;
    if (i == 0) first = std::max(first, track.media_time - static_cast<std::int64_t>(first_decode));
    lowest = std::min(lowest, first);
  }
  return -lowest;
}

std::uint64_t ProgressiveWriter::Table::presentation_ticks() const {
  std::uint64_t ticks = 0;
  for (const Edit& edit : edits()) ticks += static_cast<std::uint64_t>(edit.duration);
  return ticks;
}

std::uint32_t ProgressiveWriter::movie_timescale() const {
  std::uint64_t common = 1;
  std::uint64_t finest = 1;
  for (const Table& table : tables_) {
    if (table.sizes.empty()) continue;
    common = std::lcm(common, static_cast<std::uint64_t>(table.track.timescale));
    finest = std::max<std::uint64_t>(finest, table.track.timescale);
    // Then no scale is exact for all; the finest is wrong by less than a tick of any track.
    if (common > kMaxTimescale) common = kMaxTimescale + 1;
  }
  return static_cast<std::uint32_t>(common > kMaxTimescale ? finest : common);
}

void ProgressiveWriter::write_ftyp(ByteBuffer& out) const {  // 4.3
  bool picture = false;
  bool other_than_aac = false;
  bool av1 = false;
  for (const Table& table : tables_) {
    if (table.sizes.empty()) continue;
    picture = picture || table.track.kind != TrackKind::audio;
    for (const ByteBuffer& entry : table.track.descriptions) {
      other_than_aac = other_than_aac || entry_type(entry) != fourcc("mp4a");
      av1 = av1 || entry_type(entry) == fourcc("av01");
    }
  }
  BoxWriter box(out, fourcc("ftyp"));
  const bool m4a = !picture && !other_than_aac;
  put(out, m4a ? fourcc("M4A ") : fourcc("isom"), 4);
  put(out, 0x200, 4);
  if (m4a) put(out, fourcc("M4A "), 4);
  // iso4 for signed composition offsets (ctts version 1), iso6 as the fragments had.
  for (const FourCc brand : {fourcc("isom"), fourcc("iso4"), fourcc("iso6"), fourcc("mp42")}) put(out, brand, 4);
  if (av1) put(out, fourcc("av01"), 4);
}

ByteBuffer ProgressiveWriter::head(std::uint64_t payload_bytes) const {
  ByteBuffer out;
  write_ftyp(out);
  const std::size_t ftyp_bytes = out.size();
  const std::uint64_t mdat_header = payload_bytes + 8 > kMax32 ? 16 : 8;
  // The moov's length does not depend on the offsets in it, only on their width: write it once to see how long it is.
  write_moov(0, out, false);
  const bool wide = out.size() + mdat_header + payload_bytes > kMax32;
  if (wide) {
    out.resize(ftyp_bytes);
    write_moov(0, out, true);
  }
  const std::uint64_t payload_position = out.size() + mdat_header;
  out.resize(ftyp_bytes);
  write_moov(payload_position, out, wide);

  put(out, mdat_header == 16 ? 1 : payload_bytes + 8, 4);
  put(out, fourcc("mdat"), 4);
  if (mdat_header == 16) put(out, payload_bytes + 16, 8);
  return out;
}

void ProgressiveWriter::write_moov(std::uint64_t payload_position, ByteBuffer& out, bool wide) const {
  const std::uint32_t timescale = movie_timescale();
  std::uint64_t duration = 0;
  std::uint32_t next_track = 1;
  for (const Table& table : tables_) {
    next_track = id_above(table.track.id, next_track);
    if (table.sizes.empty()) continue;
    duration = std::max(duration, in_movie_time(static_cast<std::int64_t>(table.presentation_ticks()),
                                                table.track.timescale, timescale));
  }
  BoxWriter moov(out, fourcc("moov"));
  write_mvhd(timescale, duration, next_track, out);
  for (const Table& table : tables_) {
    if (!table.sizes.empty()) write_trak(table, timescale, payload_position, wide, out);
  }
  if (!chapters_.empty()) write_chapters(out);
}

bool ProgressiveWriter::add_chapter(std::int64_t start_ns, std::string title) {
  constexpr std::size_t kMaxTitleBytes = 255;
  if (chapters_.size() == kMaxChapters) return false;
  if (title.size() > kMaxTitleBytes) {
    std::size_t end = kMaxTitleBytes;
    while (end > 0 && (static_cast<unsigned char>(title[end]) & 0xC0U) == 0x80) --end;  // not inside a character
    title.resize(end);
  }
  const auto behind = std::upper_bound(chapters_.begin(), chapters_.end(), start_ns,
                                       [](std::int64_t at, const Chapter& chapter) { return at < chapter.start_ns; });
  chapters_.insert(behind, {std::max<std::int64_t>(0, start_ns), std::move(title)});
  return true;
}

// Not in any standard: version 1, a reserved word, a count, and for each its start in units of 100 ns and its title.
void ProgressiveWriter::write_chapters(ByteBuffer& out) const {
  BoxWriter udta(out, fourcc("udta"));
  BoxWriter chpl(out, fourcc("chpl"), 1, 0);
  put(out, 0, 4);
  put(out, chapters_.size(), 1);
  for (const Chapter& chapter : chapters_) {
    put(out, static_cast<std::uint64_t>(chapter.start_ns) / 100, 8);
    put(out, chapter.title.size(), 1);
    append(out, as_bytes(chapter.title));
  }
}

void ProgressiveWriter::write_trak(const Table& table, std::uint32_t movie_timescale, std::uint64_t payload_position,
                                   bool wide, ByteBuffer& out) {
  const Track& track = table.track;
  BoxWriter trak(out, fourcc("trak"));
  write_tkhd(track,
             in_movie_time(static_cast<std::int64_t>(table.presentation_ticks()), track.timescale, movie_timescale),
             out);
  const std::vector<Edit> edits = table.edits();
  if (edits.size() > 1 || edits.front().media_time != 0) {
    BoxWriter edts(out, fourcc("edts"));
    BoxWriter elst(out, fourcc("elst"), 1, 0);  // 8.6.6
    put(out, edits.size(), 4);
    std::int64_t position = 0;
    for (const Edit& edit : edits) {
      // Positions are rounded, not lengths, so that errors do not add up.
      const std::uint64_t from = in_movie_time(position, track.timescale, movie_timescale);
      position += edit.duration;
      put(out, in_movie_time(position, track.timescale, movie_timescale) - from, 8);
      put(out, static_cast<std::uint64_t>(edit.media_time), 8);
      put(out, 0x00010000, 4);  // rate 1.0
    }
  }
  BoxWriter mdia(out, fourcc("mdia"));
  write_mdhd(track, table.media_duration(), out);
  write_hdlr(track.kind, out);
  BoxWriter minf(out, fourcc("minf"));
  write_media_header(track.kind, out);
  write_dinf(out);
  write_sample_table(table, payload_position, wide, out);
}

void ProgressiveWriter::write_sample_table(const Table& table, std::uint64_t payload_position, bool wide,
                                           ByteBuffer& out) {
  const Track& track = table.track;
  const std::size_t samples = table.sizes.size();
  BoxWriter stbl(out, fourcc("stbl"));
  write_stsd(track, out);
  {
    BoxWriter stts(out, fourcc("stts"), 0, 0);  // 8.6.1.2
    const bool same = !table.times.empty() && table.times.back().duration == table.last_duration;
    put(out, table.times.size() + (same ? 0 : 1), 4);
    for (std::size_t i = 0; i < table.times.size(); ++i) {
      const bool with_last = same && i + 1 == table.times.size();
      put(out, table.times[i].count + (with_last ? 1U : 0U), 4);
      put(out, table.times[i].duration, 4);
    }
    if (!same) {
      put(out, 1, 4);
      put(out, table.last_duration, 4);
    }
  }
  const std::int64_t raised = table.composition_shift();
  if (table.offsets.size() > 1 || table.offsets.front().offset + raised != 0) {
    BoxWriter ctts(out, fourcc("ctts"), 1, 0);  // 8.6.1.3
    put(out, table.offsets.size(), 4);
    for (const OffsetRun& run : table.offsets) {
      put(out, run.count, 4);
      put(out, static_cast<std::uint64_t>(run.offset + raised), 4);
    }
  }
  if (table.sync.size() != samples) {
    BoxWriter stss(out, fourcc("stss"), 0, 0);  // 8.6.2
    put(out, table.sync.size(), 4);
    for (const std::uint32_t number : table.sync) put(out, number, 4);
  }
  {
    BoxWriter stsz(out, fourcc("stsz"), 0, 0);  // 8.7.3.2
    put(out, 0, 4);
    put(out, samples, 4);
    for (const std::uint32_t size : table.sizes) put(out, size, 4);
  }
  {
    BoxWriter stsc(out, fourcc("stsc"), 0, 0);  // 8.7.4: runs of chunks that are alike
    const std::size_t count_at = out.size();
    put(out, 0, 4);
    std::uint32_t runs = 0;
    for (std::size_t i = 0; i < table.chunks.size(); ++i) {
      const Chunk& chunk = table.chunks[i];
      if (i > 0 && table.chunks[i - 1].samples == chunk.samples &&
          table.chunks[i - 1].description == chunk.description) {
        continue;
      }
      put(out, i + 1, 4);
      put(out, chunk.samples, 4);
      put(out, chunk.description, 4);
      ++runs;
    }
    store_be(out.data() + count_at, runs, 4);
  }
  {
    BoxWriter offsets(out, wide ? fourcc("co64") : fourcc("stco"), 0, 0);  // 8.7.5
    put(out, table.chunks.size(), 4);
    for (const Chunk& chunk : table.chunks) put(out, payload_position + chunk.position, wide ? 8 : 4);
  }
  write_roll_sgpd(track, out);
  if (track.roll_distance != 0) {
    BoxWriter sbgp(out, fourcc("sbgp"), 0, 0);  // 8.9.2: every sample is in the group
    put(out, fourcc("roll"), 4);
    put(out, 1, 4);
    put(out, samples, 4);
    put(out, 1, 4);
  }
}

}  // namespace mc::mp4
