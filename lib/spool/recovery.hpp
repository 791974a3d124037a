// Brings a recording directory from whatever a crash left to a state that a writer can go on from, and says what that
// state is. Idempotent, and may be killed at any operation and run again.
//
// In this order: hidden stages are removed (nobody was told of them); a torn tail of the manifest is cut off; for each
// journal, lowest chunk first: a chunk that the manifest lists needs its journal no more; else the chunk is built from
// the journal's intact records, published and listed. A chunk that stands there whole without journal and line is
// adopted; one that differs from what its journal says is set aside under a hidden name, never deleted.
#pragma once

#include <atomic>
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
  std::string stop_reason;                 // why the writer stopped of itself (disk-full), or empty
  std::uint32_t recovered_chunks = 0;      // built or adopted just now
  std::uint64_t recovered_frames = 0;
};

// The caller holds the directory's lock. Kind damaged: the manifest is damaged before its tail, or an init is missing;
// then nothing was changed.
Result<RecordingState> recover_recording(sys::FileSystem& fs, const std::string& directory, const Log& log);

// Failures of the disk (kind io) that were made good. After a failed flush the kernel takes the lost pages for clean,
// so the file is never flushed again: what belongs into it is written to a new one, once; a second failure is an error.
// Safe from any thread.
class DiskErrors {
 public:
  explicit DiskErrors(Log log) : log_(std::move(log)) {}
  // Is `error` one to be met so? Then it is counted and said, with what is done about it. Else it comes back: room does
  // not come by writing again.
  Status accept(const Error& error, const std::string& remedy);
  std::uint32_t count() const { return count_.load(std::memory_order_relaxed); }
  const Log& log() const { return log_; }

 private:
  Log log_;
  std::atomic<std::uint32_t> count_{0};
};

// Appends `lines` to the manifest and makes them durable.
Status append_manifest(sys::FileSystem& fs, const std::string& directory, const std::string& lines, DiskErrors& errors);

// `bytes` under `name`, durable: staged, renamed, the directory synced.
Status publish_durably(sys::FileSystem& fs, const std::string& directory, const std::string& name, ByteView bytes,
                       DiskErrors& errors);

// Publishes `bytes` as chunk `line.number`, lists it in the manifest with `ledger`, durably, in this order. A file of
// other content that stands there is set aside.
Status publish_chunk(sys::FileSystem& fs, const std::string& directory, const wire::ChunkLine& line, ByteView bytes,
                     const std::string& ledger, DiskErrors& errors);

// Appends the `# end` line with its root. The caller holds the lock and has recovered. Kind damaged: no chunk at all.
Status close_recording(sys::FileSystem& fs, const std::string& directory, DiskErrors& errors);

inline constexpr char kLockName[] = ".lock";

}  // namespace mc::spool
