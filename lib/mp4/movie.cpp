#include "mp4/movie.hpp"

#include <algorithm>

#include "base/units.hpp"
#include "mp4/track_boxes.hpp"

namespace mc::mp4 {
namespace {

constexpr std::uint32_t kDefaultMovieTimescale = 1000;

std::uint32_t movie_timescale(const Movie& movie) {
  std::uint32_t finest = 0;
  for (const Track& track : movie.tracks) {
    if (track.empty_edit > 0) finest = std::max(finest, track.timescale);
  }
  return finest == 0 ? kDefaultMovieTimescale : finest;
}

void write_edts(const Track& track, std::uint32_t timescale_of_movie, ByteBuffer& out) {  // 8.6.6
  if (track.media_time <= 0 && track.empty_edit <= 0) return;
  const BoxWriter edts(out, fourcc("edts"));
  const BoxWriter elst(out, fourcc("elst"), 1, 0);
  append_be(out, track.empty_edit > 0 ? 2 : 1, 4);
  if (track.empty_edit > 0) {
    append_be(out, static_cast<std::uint64_t>(rescale(track.empty_edit, track.timescale, timescale_of_movie)), 8);
    append_be(out, UINT64_MAX, 8);  // media_time -1: nothing is shown
    append_be(out, 0x00010000, 4);
  }
  append_be(out, 0, 8);  // fragmented: to the end, whatever it will be
  append_be(out, static_cast<std::uint64_t>(std::max<std::int64_t>(track.media_time, 0)), 8);
  append_be(out, 0x00010000, 4);
}

void write_stbl(const Track& track, ByteBuffer& out) {  // 8.5, 8.6, 8.7: no samples here
  const BoxWriter stbl(out, fourcc("stbl"));
  write_stsd(track, out);
  for (const FourCc type : {fourcc("stts"), fourcc("stsc")}) {
    const BoxWriter box(out, type, 0, 0);
    append_zeros(out, 4);
  }
  {
    const BoxWriter stsz(out, fourcc("stsz"), 0, 0);
    append_zeros(out, 8);
  }
  {
    const BoxWriter stco(out, fourcc("stco"), 0, 0);
    append_zeros(out, 4);
  }
  write_roll_sgpd(track, out);
}

void write_trak(const Track& track, std::uint32_t timescale_of_movie, ByteBuffer& out) {
  const BoxWriter trak(out, fourcc("trak"));
  write_tkhd(track, 0, out);
  write_edts(track, timescale_of_movie, out);
  const BoxWriter mdia(out, fourcc("mdia"));
  write_mdhd(track, 0, out);
  write_hdlr(track.kind, out);
  const BoxWriter minf(out, fourcc("minf"));
  write_media_header(track.kind, out);
  write_dinf(out);
  write_stbl(track, out);
}

void write_trex(const Track& track, ByteBuffer& out) {  // 8.8.3
  const BoxWriter trex(out, fourcc("trex"), 0, 0);
  append_be(out, track.id, 4);
  append_be(out, track.default_description, 4);
  append_be(out, track.nominal_duration, 4);
  append_be(out, track.default_size_bytes, 4);
  append_be(out, track.default_flags, 4);
}

}  // namespace

const Track* Movie::find(std::uint32_t track_id) const {
  for (const Track& track : tracks) {
    if (track.id == track_id) return &track;
  }
  return nullptr;
}

const Track* Movie::reference() const {
  for (const TrackKind kind : {TrackKind::video, TrackKind::audio}) {
    for (const Track& track : tracks) {
      if (track.kind == kind) return &track;
    }
  }
  return nullptr;
}

void write_init(const Movie& movie, ByteBuffer& out) {
  {
    const BoxWriter ftyp(out, fourcc("ftyp"));
    append_be(out, fourcc("iso6"), 4);
    append_be(out, 0, 4);
    append_be(out, fourcc("iso6"), 4);
    append_be(out, fourcc("mp41"), 4);
  }
  const BoxWriter moov(out, fourcc("moov"));
  std::uint32_t next_id = 1;
  for (const Track& track : movie.tracks) next_id = id_above(track.id, next_id);
  write_mvhd(movie_timescale(movie), 0, next_id, out);  // no duration: the fragments have it
  for (const Track& track : movie.tracks) write_trak(track, movie_timescale(movie), out);
  const BoxWriter mvex(out, fourcc("mvex"));
  for (const Track& track : movie.tracks) write_trex(track, out);
}

Result<MergedMovie> merge(const Movie& current, const Movie& next) {
  if (current.tracks.size() != next.tracks.size()) {
    return fail(ErrorKind::refused, "the stream changed from " + std::to_string(current.tracks.size()) + " to " +
                                        std::to_string(next.tracks.size()) + " tracks");
  }
  MergedMovie merged{current, {}, false};
  for (const Track& track : next.tracks) {
    const auto same = std::find_if(merged.movie.tracks.begin(), merged.movie.tracks.end(),
                                   [&](const Track& known) { return known.id == track.id; });
    if (same == merged.movie.tracks.end() || same->kind != track.kind || same->timescale != track.timescale) {
      return fail(ErrorKind::refused,
                  "track " + std::to_string(track.id) + " is not the track that the stream began with");
    }
    std::vector<std::uint32_t>& indices = merged.map.emplace_back();
    for (const ByteBuffer& entry : track.descriptions) {
      auto found = std::find(same->descriptions.begin(), same->descriptions.end(), entry);
      if (found == same->descriptions.end()) {
        found = same->descriptions.insert(found, entry);
        merged.changed = true;
      }
      indices.push_back(static_cast<std::uint32_t>(found - same->descriptions.begin()) + 1);
    }
  }
  return merged;
}

}  // namespace mc::mp4
