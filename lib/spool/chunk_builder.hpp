// The finished chunk, built from its journal and nothing else, so that building it again after a crash gives the same
// bytes: styp, prft, then per track one moof + mdat (mc-spool-format(5)).
//
// Durations: inside the chunk a sample lasts until its successor on the track, so that a hole is a stretched sample.
// The last one's is fixed by the seal: until the next chunk's first frame when that is known and no hole lies between,
// else nominal; the jump of tfdt then is the hole.
#pragma once

#include <map>
#include <span>
#include <string>

#include "spool/journal.hpp"
#include "wire/manifest.hpp"

namespace mc::spool {

// Decode time of the first frame behind the chunk, by track, as far as it is known.
using NextFrames = std::map<std::uint32_t, std::uint64_t>;

JournalSeal make_seal(const mp4::Movie& movie, std::span<const JournalEntry> entries, const NextFrames& next);

struct BuiltChunk {
  ByteBuffer bytes;
  wire::ChunkLine line;
  std::string ledger;  // the chunk's gap and note lines, as the manifest takes them
};
// `movie` is init `head.init`. Kind damaged: the entries name a track that the init does not have, or no frame at all.
Result<BuiltChunk> build_chunk(const mp4::Movie& movie, const JournalHead& head, std::span<const JournalEntry> entries,
                               const JournalSeal& seal);

// What a chunk file says by itself, for a chunk that stands in a directory without a line in the manifest.
Result<wire::ChunkLine> describe_chunk(ChunkNumber number, InitNumber init, ByteView init_bytes, ByteView chunk_bytes);

}  // namespace mc::spool
