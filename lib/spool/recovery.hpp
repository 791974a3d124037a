// Brings a recording directory from whatever a crash left to a state that a writer can go on from, and says what that
// state is. Idempotent, and may be killed at any operation and run again.
//
// In this order: hidden stages are removed (nobody was told of them); a torn tail of the manifest is cut off; for each
// journal, lowest chunk first: a chunk that the manifest lists needs its journal no more; else the chunk is built from
// the journal's intact records, published and listed. A chunk that stands there whole without journal and line is
// adopted; one that differs from what its journal says is set aside under a hidden name, never deleted.
#pragma once

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
  };
  std::map<std::uint32_t, TrackEnd> ends;  // by track, of the recording so far
  std::uint32_t recovered_chunks = 0;      // built or adopted just now
  std::uint64_t recovered_frames = 0;
};

// The caller holds the directory's lock. Kind damaged: the manifest is damaged before its tail, or an init is missing;
// then nothing was changed.
Result<RecordingState> recover_recording(sys::FileSystem& fs, const std::string& directory, const Log& log);

// Appends `lines` to the manifest and makes them durable. `directory_sync`: the file may be new.
Status append_manifest(sys::FileSystem& fs, const std::string& directory, const std::string& lines);

// Publishes `bytes` as chunk `line.number`, lists it in the manifest with `ledger`, durably, in this order. An equal
// file that stands there already is taken as it is; another one is set aside.
Status publish_chunk(sys::FileSystem& fs, const std::string& directory, const wire::ChunkLine& line, ByteView bytes,
                     const std::string& ledger, const Log& log);

// Appends the `# end` line with its root. The caller holds the lock and has recovered. Kind damaged: no chunk at all.
Status close_recording(sys::FileSystem& fs, const std::string& directory);

inline constexpr char kLockName[] = ".lock";

}  // namespace mc::spool
