// The finished chunk, built from its journal and nothing else, so that building it again after a crash gives the same
// bytes: styp, prft, then per track one moof + mdat (mc-spool-format(5)).
//
// Durations: inside the chunk a sample lasts until its successor on the track, so that a hole is a stretched sample.
// The last one's is fixed by the seal: until the next chunk's first frame when that is known and no hole lies between,
// else nominal; the jump of tfdt then is the hole.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

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

// Decode time of the last frame before a chunk, by track.
using LastFrames = std::map<std::uint32_t, std::uint64_t>;

// What a chunk file says by itself, for one that stands in a directory without a whole line in the manifest.
struct DescribedChunk {
  wire::ChunkLine line;
  std::vector<wire::GapLine> holes;        // inside, and behind `before`; their reason is not known from the bytes
  bool begins_with_key_frame = true;       // false: cut by force
  std::optional<std::int64_t> t0_wall_ns;  // by its producer time: Unix time of decode time 0
  LastFrames last;                         // `before`, brought up to this chunk's end
};
// Kind damaged: not a chunk of this init, cut off, or without a frame.
Result<DescribedChunk> describe_chunk(ChunkNumber number, InitNumber init, ByteView init_bytes, ByteView chunk_bytes,
                                      LastFrames before);

// `kept`, which are the chunk's ledger lines as far as they are there, and those that its bytes ask for beyond them.
std::string complete_ledger(const DescribedChunk& chunk, std::string kept);

// Does the ledger say that the chunk was cut where there was no key frame (mp4/cut_rule.hpp)?
bool is_forced_cut(const wire::Manifest& manifest, ChunkNumber number);

}  // namespace mc::spool
