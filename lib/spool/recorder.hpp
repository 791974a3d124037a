// The writer of a recording directory: what `mc-spool write` is made of.
//
//   auto recorder = Recorder::open(fs, directory, options);      // lock, recovery of what a crash left
//   recorder->begin_stream();                                     // a new input; continues the recording if there is
//                                                                  // one
//   while (…) { recorder->take(item); … recorder->commit(); }      // commit: what was taken is durable, and
//   acknowledged recorder->finish(EndOfStream::…);                              // last chunk published; closed or left
//   open
//
// What is true after a crash at each step is in mc-spool-format(5). In short: what was taken survives the death of this
// process; after `commit` every frame taken before it survives a power cut; a chunk is in the manifest only when it is
// durable under its name. The caller calls commit whenever no more input is waiting, so that frames that came in
// meanwhile share a flush.
//
// A finished chunk is built and published on a thread of its own, from its journal; the next frame goes into the next
// journal and does not wait. A disk that fails a flush is met by writing the same again to a new file, once
// (DiskErrors); when that fails too, take or commit gives kind io, and what was acknowledged is in the journals.
//
// The disk is looked at ahead. Room left for the unpublished chunks is counted as used. Below `warn_bytes` on_disk is
// told, below `reserve_bytes` commit, after having made the frames durable, gives kind no_space; the caller then calls
// finish(EndOfStream::disk_full), for which there is room.
//
// The caller's thread makes all calls and gets all callbacks, but for the log, which may be called from any. Owns the
// directory's lock as long as it lives. The destructor commits nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/json.hpp"
#include "base/latency.hpp"
#include "base/log.hpp"
#include "mp4/cut_rule.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/chunk_builder.hpp"
#include "spool/journal.hpp"
#include "spool/publisher.hpp"
#include "spool/recovery.hpp"
#include "sys/file_system.hpp"
#include "sys/lock.hpp"
#include "wire/manifest.hpp"

namespace mc::spool {

// A frame that is durable now.
struct DurableFrame {
  std::uint32_t track = 0;
  std::uint64_t decode_time = 0;  // ticks of the track, on the recording's timeline
  ChunkNumber chunk;
};

enum class DiskLevel : std::uint8_t { enough, low, full };

// How much of what came in a power cut would take now, and would have taken so far.
struct LossWindow {
  std::uint64_t frames_pending = 0;   // taken, not durable
  std::uint64_t flushes = 0;          // of frames, so far
  std::uint64_t last_flush_us = 0;    // how long the last one took
  LatencyHistogram frame_to_durable;  // from `take` to the end of the flush, each frame
};

struct RecorderOptions {
  std::optional<wire::RecordingPath> path;  // for a new recording; nothing: made from the directory's name
  const Clock* clock = &system_clock();
  Log log = no_log();
  std::function<void(const DurableFrame&)> on_durable;                            // after the flush; must not block
  std::function<void(const wire::ChunkLine&, const std::string& name)> on_chunk;  // after it is in the manifest
  std::function<void()> on_wake;  // from another thread: the next `commit` has a chunk to tell, or an error
  std::function<void(DiskLevel, const sys::SpaceInfo&)> on_disk;  // when the level has changed
  // Room that is kept free, and below which a warning comes. 0: 64 MiB and 1 GiB; on a small file system a tenth and a
  // third of it, but 1 and 2 MiB at least. Inodes: 16 and 256.
  std::uint64_t reserve_bytes = 0;
  std::uint64_t warn_bytes = 0;
  Publisher::Mode publishing = Publisher::Mode::background;
};

enum class EndOfStream : std::uint8_t {
  whole,      // the input ended between boxes
  torn,       // inside a box: the producer died
  stopped,    // we were told to stop reading
  disk_full,  // we stopped reading: no room. Ledgered as a gap whose end is not known yet
};

// `none` is for a file system that the kernel knows nothing of.
enum class Locking : std::uint8_t { kernel, none };

class Recorder {
 public:
  // Makes the directory when absent. Kinds: unavailable (another writer holds it), damaged (what is there cannot be
  // continued), refused (the recording is closed), and those of the file system.
  static Result<Recorder> open(sys::FileSystem& fs, const std::string& directory, RecorderOptions options,
                               Locking locking = Locking::kernel);

  void begin_stream();
  Status take(mp4::Item item);
  // Frames taken since the last commit become durable and are acknowledged.
  Status commit();
  // Enough was taken since then: commit before taking more, even if more is there.
  bool flush_is_due() const;
  // An event as if the stream had brought it now (mc-protocol(7)): at the end of the newest frame, durable on return.
  // Its time, in ns on the recording's timeline. Kind unavailable: no frame has come yet.
  Result<std::int64_t> add_event_now(json::object event);
  // Publishes the last chunk. Closes the recording when the stream said so (event `end`), or when it has no event
  // track and ended whole; leaves it open otherwise. Kind damaged when the recording has no frame at all.
  Status finish(EndOfStream how);

  bool closed() const { return closed_; }
  bool told_to_end() const { return end_seen_; }
  std::uint32_t chunks() const { return state_.next_chunk.value - 1; }
  std::uint64_t frames() const { return frames_; }
  const std::string& recording_id() const { return state_.recording_id; }
  const LossWindow& loss_window() const { return window_; }
  std::uint32_t disk_errors() const { return errors_->count(); }  // made good so far

 private:
  struct OpenChunk {
    UnpublishedChunk chunk;
    std::size_t acknowledged = 0;  // entries up to here are durable
  };

  Recorder(sys::FileSystem& fs, std::string directory, RecorderOptions options);

  void ledger_dropped();
  Status take_init(const mp4::InitItem& item);
  Status take_event(const mp4::Event& event);
  Status take_sample(mp4::SampleItem item);
  Status start_recording();
  Status publish_init();
  std::int64_t choose_offset(const mp4::Track& track, const mp4::Sample& first) const;
  std::int64_t placed(const mp4::Track& track, const mp4::Sample& sample, std::size_t run) const;
  bool runs_back(const mp4::Track& track, std::int64_t placed_ticks) const;
  void find_run(const mp4::Track& track, const mp4::Sample& sample);
  void place(const mp4::Track& track, mp4::Sample& sample);
  Status open_chunk();
  void add_entry(JournalEntry entry);  // to the open chunk
  Status commit_open();
  bool knows_all_followers(const UnpublishedChunk& chunk) const;
  Status submit_closing();
  Status tell_published();
  void set_marks(const sys::SpaceInfo& space);
  Result<sys::SpaceInfo> room();
  DiskLevel look_at_disk();
  Error no_room() const;
  std::int64_t recorded_ns() const;

  sys::FileSystem* fs_;
  std::string directory_;
  RecorderOptions options_;
  std::optional<sys::FileLock> lock_;

  RecordingState state_;     // what the directory holds: numbers, init, ends of tracks, t0
  mp4::Movie stream_movie_;  // of the input, before merging
  std::vector<std::vector<std::uint32_t>> description_map_;
  std::optional<mp4::CutRule> cut_;
  std::optional<OpenChunk> open_;
  std::optional<UnpublishedChunk> closing_;  // the one before, waiting for its last durations
  std::unique_ptr<DiskErrors> errors_;
  std::unique_ptr<ManifestWriter> manifest_;
  std::unique_ptr<Publisher> publisher_;
  LossWindow window_;
  std::vector<std::int64_t> pending_since_ns_;  // when each frame that is not durable yet was taken, monotonic
  DiskLevel disk_ = DiskLevel::enough;
  std::uint64_t uncommitted_bytes_ = 0;
  bool disk_unknown_ = false;         // its room cannot be read; said once
  std::uint64_t unlooked_bytes_ = 0;  // written since the disk was looked at
  bool look_is_due_ = false;          // with the next commit, whatever was written

  // Of the current stream. Its time may be set back: then it begins another run, with an offset of its own. Tracks come
  // to the new run one after the other.
  std::vector<std::int64_t> offsets_ns_;      // of each run: added to its times to put them on the recording's timeline
  std::map<std::uint32_t, std::size_t> run_;  // that a track is in
  std::set<std::uint32_t> behind_init_;       // tracks that had no frame since the newest init came
  std::optional<std::int64_t> stream_t0_wall_ns_;
  std::int64_t stream_bound_us_ = -1;
  std::map<std::uint32_t, bool> started_;  // tracks that had a frame in this stream (a picture: a key frame)
  std::map<std::uint32_t, std::uint32_t> last_description_;
  std::map<std::uint32_t, std::uint32_t> dropped_;  // picture before the first key frame, frames by track
  std::vector<JournalEvent> early_events_;          // came before the first frame
  bool has_events_ = false;
  bool end_seen_ = false;
  bool init_pending_ = false;
  std::uint64_t frames_ = 0;
  bool closed_ = false;
};

}  // namespace mc::spool
