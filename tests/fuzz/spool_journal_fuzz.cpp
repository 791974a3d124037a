// The journal's parser on any bytes, and the chunk builder on what it gives.
#include <cstdlib>

#include "spool/chunk_builder.hpp"
#include "spool/journal.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = mc::spool::parse_journal({data, size});
  if (content.intact_bytes + content.torn_bytes != size) std::abort();
  if (!content.head) return 0;
  mc::mp4::Movie movie;
  movie.tracks.resize(2);
  movie.tracks[0].id = 1;
  movie.tracks[0].kind = mc::mp4::TrackKind::video;
  movie.tracks[0].timescale = 90000;
  movie.tracks[1].id = 2;
  movie.tracks[1].kind = mc::mp4::TrackKind::audio;
  movie.tracks[1].timescale = 48000;
  movie.tracks[1].nominal_duration = 1024;
  const auto seal = content.seal ? *content.seal : mc::spool::make_seal(movie, content.entries, {});
  (void)mc::spool::build_chunk(movie, *content.head, content.entries, seal);
  return 0;
}
