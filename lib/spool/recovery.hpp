// Brings a recording directory from whatever a crash left to a state that a writer can go on from, and says what that
// state is. Idempotent, and may be killed at any operation and run again.
//
// In this order: a damaged manifest is put right (manifest_repair.hpp), which no crash asks for but disks do; hidden
// stages are removed (nobody was told of them); a torn tail of the manifest is cut off; for each journal, lowest chunk
// first: a chunk that the manifest lists, and that is what its line says, needs its journal no more; else the chunk is
// built from the journal's intact records, published and listed. A chunk that stands there whole without journal and
// line is adopted; one that differs from what its journal says is set aside under a hidden name, never deleted.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/log.hpp"
#include "mp4/movie.hpp"
#include "sys/file_system.hpp"
#include "wire/manifest.hpp"

namespace mc::spool {

struct RecordingState {
  bool exists = false;  // there is a manifest
  std::string recording_id;
  std::optional<wire::RecordingPath> path;
  std::int64_t t0_wall_ns = 0;
  bool closed = false;
  ChunkNumber next_chunk{1};
  InitNumber init;   // the newest; 0: none yet
  mp4::Movie movie;  // what it says
  struct TrackEnd {
    std::uint64_t decode_time = 0;  // of the last frame
    std::uint64_t end = 0;          // decode_time + duration
    bool sealed = false;            // it lasts that long for good: its successor may not come earlier
    std::uint64_t next_at_least() const { return sealed ? std::max(end, decode_time + 1) : decode_time + 1; }
  };
  std::map<std::uint32_t, TrackEnd> ends;  // by track, of the recording so far
  std::size_t listed_files = 0;            // in the manifest before anything was recovered
  std::string stop_reason;                 // why the writer stopped of itself (disk-full), or empty
  std::uint32_t recovered_chunks = 0;      // built or adopted just now
  std::uint64_t recovered_frames = 0;
  std::uint32_t orphans = 0;  // inits and chunks among them whose lines were lost: no crash does that
};

// The caller holds the directory's lock. Kind damaged: the manifest is damaged beyond repair, or an init is missing;
// then nothing was changed.
Result<RecordingState> recover_recording(sys::FileSystem& fs, const std::string& directory, const Log& log);

// Is there a chunk, or a journal with frames? Whatever holds frames proves that there was a manifest: that is durable
// before the first journal is made.
Result<bool> holds_frames(sys::FileSystem& fs, const std::string& directory);

inline constexpr char kLockName[] = ".lock";

}  // namespace mc::spool
