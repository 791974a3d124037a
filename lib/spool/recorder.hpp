// The writer of a recording directory: what `mc-spool write` is made of.
//
//   auto recorder = Recorder::open(fs, directory, options);      // lock, recovery of what a crash left
//   recorder->begin_stream();                                     // a new input; continues the recording if there is
//   one while (…) { recorder->take(item); … recorder->commit(); }     // commit: what was taken is durable, then
//   acknowledged recorder->finish(EndOfStream::…);                             // last chunk published; closed or left
//   open
//
// What is true after a crash at each step is in mc-spool-format(5). In short: `take` promises nothing; after `commit`
// every frame taken before it is found again by recovery; a chunk is in the manifest only when it is durable under its
// name. The caller calls commit whenever no more input is waiting, so that frames that came in meanwhile share a flush.
//
// One thread. Owns the directory's lock as long as it lives. The destructor commits nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "mp4/cut_rule.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/chunk_builder.hpp"
#include "spool/journal.hpp"
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

struct RecorderOptions {
  std::optional<wire::RecordingPath> path;  // for a new recording; nothing: made from the directory's name
  const Clock* clock = &system_clock();
  Log log = no_log();
  std::function<void(const DurableFrame&)> on_durable;                            // after the flush; must not block
  std::function<void(const wire::ChunkLine&, const std::string& name)> on_chunk;  // after it is in the manifest
};

enum class EndOfStream : std::uint8_t {
  whole,    // the input ended between boxes
  torn,     // inside a box: the producer died
  stopped,  // we were told to stop reading
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
  // Publishes the last chunk. Closes the recording when the stream said so (event `end`), or when it has no event
  // track and ended whole; leaves it open otherwise. Kind damaged when the recording has no frame at all.
  Status finish(EndOfStream how);

  bool closed() const { return closed_; }
  bool told_to_end() const { return end_seen_; }
  std::uint32_t chunks() const { return state_.next_chunk.value - 1; }
  std::uint64_t frames() const { return frames_; }
  const std::string& recording_id() const { return state_.recording_id; }

 private:
  // A chunk whose frames are (becoming) durable in its journal and that is not published yet.
  struct OpenChunk {
    JournalHead head;
    JournalWriter journal;
    std::vector<JournalEntry> entries;
    std::size_t acknowledged = 0;  // entries up to here are durable
    NextFrames next;               // filled while the chunk waits to be built
  };

  Recorder(sys::FileSystem& fs, std::string directory, RecorderOptions options);

  Status take_init(const mp4::InitItem& item);
  Status take_event(const mp4::Event& event);
  Status take_sample(mp4::SampleItem item);
  Status start_recording();
  Status publish_init();
  void choose_offset(const mp4::Sample& first);
  void place(const mp4::Track& track, mp4::Sample& sample);
  Status open_chunk();
  void add_event(JournalEvent event);  // to the open chunk
  Status commit_chunk(OpenChunk& chunk);
  bool knows_all_followers(const OpenChunk& chunk) const;
  Status finish_closing();

  sys::FileSystem* fs_;
  std::string directory_;
  RecorderOptions options_;
  std::optional<sys::FileLock> lock_;

  RecordingState state_;     // what the directory holds: numbers, init, ends of tracks, t0
  mp4::Movie stream_movie_;  // of the input, before merging
  std::vector<std::vector<std::uint32_t>> description_map_;
  std::optional<mp4::CutRule> cut_;
  std::optional<OpenChunk> open_;
  std::optional<OpenChunk> closing_;  // the one before, waiting for its last durations

  // Of the current stream.
  std::optional<std::int64_t> offset_ns_;  // added to its times to put them on the recording's timeline
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
