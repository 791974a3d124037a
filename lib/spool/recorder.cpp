#include "spool/recorder.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/json.hpp"
#include "digest/sha256.hpp"
#include "spool/manifest_repair.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

constexpr std::uint64_t kReserveBytes = 64U << 20;
constexpr std::uint64_t kLeastReserveBytes = 1U << 20;  // of a small disk
constexpr std::uint64_t kWarnBytes = 1U << 30;
constexpr std::uint64_t kReserveInodes = 16;
constexpr std::uint64_t kWarnInodes = 256;
// What is written between two looks at the disk takes its room twice, in the journal and in the chunk, and must leave
// enough of the reserve for a clean end: both are less where the reserve is small.
constexpr std::uint64_t kLookEveryBytes = 256U << 10;
constexpr std::uint64_t kFlushBytes = 256U << 10;  // at most so much shares a flush
constexpr std::uint64_t kMinSetBackMs = 500;       // of an input's time; less is jitter

// Reasons that were given for a hole whose other side is still to come: gap events with no later frame of their track.
std::vector<JournalEvent> unused_reasons(std::span<const JournalEntry> entries) {
  std::map<std::int64_t, JournalEvent> by_track;  // 0: every track
  for (const auto& entry : entries) {
    if (const auto* frame = std::get_if<JournalFrame>(&entry)) {
      by_track.erase(frame->sample.track_id);
      by_track.erase(0);
      continue;
    }
    const auto& event = std::get<JournalEvent>(entry);
    const auto object = json::parse_object(event.json);
    if (object && json::get_string(*object, "event") == "gap") {
      by_track[json::get_int(*object, "track").value_or(0)] = event;
    }
  }
  std::vector<JournalEvent> unused;
  for (auto& [track, event] : by_track) unused.push_back(std::move(event));
  return unused;
}

std::int64_t to_ns(std::uint64_t ticks, std::uint32_t timescale) {
  return rescale(static_cast<std::int64_t>(ticks), timescale, kNanosecondsPerSecond);
}

}  // namespace

Recorder::Recorder(sys::FileSystem& fs, std::string directory, RecorderOptions options)
    : fs_(&fs),
      directory_(std::move(directory)),
      options_(std::move(options)),
      errors_(std::make_unique<DiskErrors>(options_.log)) {}

Result<Recorder> Recorder::open(sys::FileSystem& fs, const std::string& directory, RecorderOptions options,
                                Locking locking) {
  MC_TRY(sys::make_directories(fs, directory));
  if (locking == Locking::kernel) {
    // Also of the directories above the present one, and of those that a symbolic link leads to.
    std::error_code ec;
    const auto real = std::filesystem::canonical(directory, ec);
    if (!ec) MC_TRY(sys::make_directories(fs, real.string()));
  }
  Recorder recorder(fs, directory, std::move(options));
  recorder.set_marks(recorder.room().value_or(sys::SpaceInfo{}));
  if (locking == Locking::kernel) {
    auto lock = sys::FileLock::acquire(sys::join_path(directory, kLockName));
    if (!lock && lock.error().sys_errno == EWOULDBLOCK) {
      return fail(Error{ErrorKind::unavailable, "'" + directory + "' is being recorded by another process", EWOULDBLOCK,
                        "one writer at a time; choose another directory"});
    }
    if (!lock) return fail(std::move(lock).error());
    recorder.lock_.emplace(std::move(*lock));
  }
  MC_TRY_ASSIGN(recorder.state_, recover_recording(fs, directory, recorder.options_.log));
  if (recorder.state_.closed) {
    return fail(Error{ErrorKind::refused, "'" + directory + "' is closed: nothing can be added", 0,
                      "record the next take into a new directory"});
  }
  if (!recorder.state_.path) {
    if (recorder.options_.path) {
      recorder.state_.path = recorder.options_.path;
    } else {
      MC_TRY_ASSIGN(recorder.state_.path, path_from_directory(directory));
    }
  }
  if (recorder.look_at_disk() == DiskLevel::full) return fail(recorder.no_room());
  recorder.manifest_ = std::make_unique<ManifestWriter>(fs, directory, *recorder.errors_);
  if (recorder.state_.exists) MC_TRY(recorder.manifest_->begin());
  recorder.publisher_ =
      std::make_unique<Publisher>(*recorder.manifest_, recorder.options_.publishing, recorder.options_.on_wake);
  return recorder;
}

void Recorder::begin_stream() {
  cut_.reset();
  offsets_ns_.clear();
  run_.clear();
  behind_init_.clear();
  stream_t0_wall_ns_.reset();
  started_.clear();
  last_description_.clear();
  stream_movie_ = {};
  has_events_ = false;
  end_seen_ = false;
  if (state_.stop_reason.empty()) return;
  // The hole that begins where the writer stopped of itself has a reason already.
  const json::object gap{{"event", "gap"}, {"reason", std::exchange(state_.stop_reason, {})}};
  early_events_.push_back({0, json::to_text(gap)});
}

Status Recorder::take(mp4::Item item) {
  if (const auto* init = std::get_if<mp4::InitItem>(&item)) return take_init(*init);
  if (const auto* event = std::get_if<mp4::EventItem>(&item)) return take_event(event->event);
  if (auto* sample = std::get_if<mp4::SampleItem>(&item)) return take_sample(std::move(*sample));
  if (const auto* producer = std::get_if<mp4::ProducerTimeItem>(&item)) {
    const mp4::Track* track = stream_movie_.find(producer->time.track_id);
    if (track != nullptr && !stream_t0_wall_ns_) {
      stream_t0_wall_ns_ = producer->time.wall_ns - to_ns(producer->time.media_time, track->timescale);
    }
  }
  return {};
}

Status Recorder::take_init(const mp4::InitItem& item) {
  if (item.movie.reference() == nullptr) return fail(ErrorKind::damaged, "the input has neither picture nor sound");
  stream_movie_ = item.movie;
  for (const mp4::Track& track : item.movie.tracks) behind_init_.insert(track.id);
  mp4::Movie merged_movie = item.movie;
  description_map_.clear();
  if (state_.init.value > 0) {
    auto merged = mp4::merge(state_.movie, item.movie);
    if (!merged) {
      return fail(Error{ErrorKind::refused, "cannot continue '" + directory_ + "': " + merged.error().message, 0,
                        "record into a new directory"});
    }
    description_map_ = std::move(merged->map);
    merged_movie = std::move(merged->movie);
    if (!merged->changed) return {};
  }
  state_.movie = std::move(merged_movie);
  init_pending_ = true;  // published with the first frame that needs it
  return {};
}

Status Recorder::take_event(const mp4::Event& event) {
  if (event.scheme != mp4::kEventScheme) return {};
  has_events_ = true;
  const auto object = json::parse_object(event.json);
  if (!object) {
    options_.log(LogLevel::warning, "an event that is not JSON is left out");
    return {};
  }
  const std::string kind = json::get_string(*object, "event").value_or("");
  if (kind == "end") end_seen_ = true;
  if (kind == "start") {
    if (const auto t0 = json::get_string(*object, "t0")) {
      if (const auto wall = parse_utc(*t0)) stream_t0_wall_ns_ = *wall;
    }
    stream_bound_us_ = json::get_int(*object, "bound-us").value_or(-1);
    const auto id = json::get_string(*object, "recording");
    if (id && !state_.exists && wire::is_recording_id(*id)) state_.recording_id = *id;
    return {};
  }
  if (kind == "end") return {};
  JournalEvent entry{to_ns(event.time, event.timescale == 0 ? 1 : event.timescale), event.json};
  if (!open_ || offsets_ns_.empty()) {
    early_events_.push_back(std::move(entry));
    return {};
  }
  entry.time_ns += offsets_ns_.back();
  add_entry(std::move(entry));
  return {};
}

// Where the newest frame of any track ends.
std::int64_t Recorder::recorded_ns() const {
  std::int64_t recorded = 0;
  for (const auto& [id, end] : state_.ends) {
    if (const mp4::Track* known = state_.movie.find(id))
      recorded = std::max(recorded, to_ns(end.end, known->timescale));
  }
  return recorded;
}

Result<std::int64_t> Recorder::add_event_now(json::object event) {
  if (!open_) return fail(ErrorKind::unavailable, "no frame has come in yet");
  const std::int64_t now_ns = recorded_ns();
  add_entry(JournalEvent{now_ns, json::to_text(event)});
  MC_TRY(commit());
  return now_ns;
}

// Puts the stream's times on the recording's timeline: by the wall clock where both sides know it, and never backwards.
std::int64_t Recorder::choose_offset(const mp4::Track& track, const mp4::Sample& first) const {
  const std::int64_t stream_start = to_ns(first.decode_time, track.timescale);
  const std::int64_t recorded = recorded_ns();
  const std::int64_t offset = *stream_t0_wall_ns_ - state_.t0_wall_ns;  // 0 for the stream that began the recording
  if (stream_start + offset >= recorded) return offset;
  options_.log(LogLevel::warning,
               "the clock says that this input began before the last one ended; it is put behind it");
  return recorded - stream_start;
}

// On the recording's timeline, in ticks, when `sample` belongs to that run of the stream.
std::int64_t Recorder::placed(const mp4::Track& track, const mp4::Sample& sample, std::size_t run) const {
  return static_cast<std::int64_t>(sample.decode_time) +
         rescale(offsets_ns_[run], kNanosecondsPerSecond, track.timescale);
}

// Further back than jitter goes; behind an init that came in the middle, further than the frames of two segments
// overlap by rounding.
bool Recorder::runs_back(const mp4::Track& track, std::int64_t placed_ticks) const {
  const auto end = state_.ends.find(track.id);
  if (end == state_.ends.end()) return false;
  const bool begins_anew = behind_init_.contains(track.id) && track.nominal_duration > 0;
  const std::uint64_t most =
      begins_anew ? std::uint64_t{track.nominal_duration} * 3 / 2 : kMinSetBackMs * track.timescale / 1000;
  return placed_ticks < static_cast<std::int64_t>(end->second.decode_time) - static_cast<std::int64_t>(most);
}

// A track whose time is set back follows the others into their newest run, or begins one: behind everything that was
// recorded, so that the tracks keep their distances.
void Recorder::find_run(const mp4::Track& track, const mp4::Sample& sample) {
  const std::size_t newest = offsets_ns_.size() - 1;
  std::size_t& run = run_.try_emplace(track.id, newest).first->second;
  if (!started_[track.id] || !runs_back(track, placed(track, sample, run))) return;
  if (run < newest && !runs_back(track, placed(track, sample, newest))) {
    run = newest;
    return;
  }
  const std::int64_t recorded = recorded_ns();
  const std::int64_t offset = recorded - to_ns(sample.decode_time, track.timescale);
  const std::int64_t by_ns = offset - offsets_ns_[run];
  options_.log(LogLevel::warning, "the input's time is set back; it is put behind what was recorded");
  offsets_ns_.push_back(offset);
  run = newest + 1;
  add_entry(JournalEvent{recorded, json::to_text({{"event", "clock"}, {"set-back-ns", by_ns}})});
}

// Onto the recording's timeline, with strictly rising decode times. Presentation times are kept where they can be.
void Recorder::place(const mp4::Track& track, mp4::Sample& sample) {
  find_run(track, sample);
  behind_init_.erase(track.id);
  sample.decode_time = static_cast<std::uint64_t>(std::max<std::int64_t>(0, placed(track, sample, run_[track.id])));
  const auto end = state_.ends.find(track.id);
  if (end == state_.ends.end()) return;
  const std::uint64_t least = end->second.next_at_least();
  if (sample.decode_time >= least) return;
  sample.composition_offset -= static_cast<std::int32_t>(least - sample.decode_time);
  sample.decode_time = least;
}

Status Recorder::take_sample(mp4::SampleItem item) {
  const std::int64_t now = options_.clock->wall_ns();
  mp4::Sample& sample = item.sample;
  const mp4::Track* track = state_.movie.find(sample.track_id);
  if (track == nullptr) return fail(ErrorKind::damaged, "the input has a frame of a track that it did not declare");
  const bool first_of_track = !started_[track->id];
  if (first_of_track && track->kind == mp4::TrackKind::video && !sample.sync) {
    ++dropped_[track->id];  // nothing can decode it; ledgered with the first frame that is kept
    return {};
  }
  const auto index = static_cast<std::size_t>(track - state_.movie.tracks.data());
  if (index < description_map_.size() && sample.description >= 1 &&
      sample.description <= description_map_[index].size()) {
    sample.description = description_map_[index][sample.description - 1];
  }
  if (sample.description < 1 || sample.description > track->descriptions.size()) {
    return fail(ErrorKind::damaged, "the input has a frame with a description that it did not declare");
  }
  if (!stream_t0_wall_ns_) stream_t0_wall_ns_ = now - to_ns(sample.decode_time, track->timescale);
  if (!state_.exists) MC_TRY(start_recording());
  if (offsets_ns_.empty()) offsets_ns_.push_back(choose_offset(*track, sample));
  place(*track, sample);
  if (closing_) closing_->next.emplace(track->id, sample.decode_time);

  const auto described = last_description_.find(track->id);
  const bool other_description = described != last_description_.end() && described->second != sample.description;
  if (init_pending_ || !cut_ || (other_description && sample.sync)) cut_.emplace(state_.movie);
  if (cut_->starts_chunk(sample)) MC_TRY(open_chunk());
  last_description_[track->id] = sample.description;

  JournalFrame frame{sample, first_of_track && state_.ends.contains(track->id), now, std::move(item.data)};
  if (closing_) closing_->next.emplace(track->id, sample.decode_time);
  add_entry(std::move(frame));
  pending_since_ns_.push_back(options_.clock->monotonic_ns());
  state_.ends[track->id] = {sample.decode_time, sample.decode_time + sample.duration};
  started_[track->id] = true;
  ++frames_;
  if (closing_ && knows_all_followers(*closing_)) return submit_closing();
  return {};
}

// The manifest is born whole: head and t0 in one rename, so that it never exists without them.
Status Recorder::start_recording() {
  if (state_.recording_id.empty()) {
    MC_TRY_ASSIGN(const ByteBuffer id, digest::random_bytes(16));
    state_.recording_id = digest::to_hex(id);
  }
  state_.t0_wall_ns = *stream_t0_wall_ns_;
  const std::string head = wire::header_line() + wire::recording_line(state_.recording_id, *state_.path) +
                           wire::t0_line(state_.t0_wall_ns, stream_bound_us_);
  MC_TRY(publish_durably(*fs_, directory_, wire::kManifestName, as_bytes(head), *errors_));
  state_.exists = true;
  return manifest_->begin();
}

Status Recorder::publish_init() {
  ByteBuffer bytes;
  mp4::write_init(state_.movie, bytes);
  const InitNumber number = state_.init.next();
  MC_TRY(publisher_->drain());  // one at a time writes the manifest
  // One that a crash left without its line is replaced: no chunk can refer to it yet.
  MC_TRY(publish_durably(*fs_, directory_, wire::init_name(number), bytes, *errors_));
  MC_TRY(manifest_->append(init_lines(number, state_.movie, bytes)));
  state_.init = number;
  init_pending_ = false;
  return {};
}

// The next chunk's journal exists before the finished chunk is built, so that building never delays a frame.
Status Recorder::open_chunk() {
  if (closing_) MC_TRY(submit_closing());
  if (open_) {
    MC_TRY(commit_open());
    closing_ = std::move(open_->chunk);
    open_.reset();
  }
  if (init_pending_) MC_TRY(publish_init());
  JournalHead head{state_.next_chunk, state_.init, state_.t0_wall_ns, {}};
  for (const auto& [id, end] : state_.ends) head.last.push_back({id, end.decode_time});
  auto journal = JournalWriter::create(*fs_, directory_, head);
  if (!journal) {
    MC_TRY(errors_->accept(journal.error(), "another journal is begun"));
    journal = JournalWriter::create(*fs_, directory_, head, 2);
  }
  if (!journal) return fail(std::move(journal).error());
  open_.emplace(OpenChunk{{std::move(head), std::move(*journal), {}, {}, {}, 0, nullptr}, 0});
  state_.next_chunk = state_.next_chunk.next();
  look_is_due_ = true;
  if (closing_) {
    for (auto& event : unused_reasons(closing_->entries)) add_entry(std::move(event));
  }
  for (auto& event : std::exchange(early_events_, {})) {
    event.time_ns += offsets_ns_.back();
    add_entry(std::move(event));
  }
  ledger_dropped();
  return {};
}

void Recorder::ledger_dropped() {
  for (const auto& [id, frames] : std::exchange(dropped_, {})) {
    const json::object dropped{{"event", "dropped"}, {"track", id}, {"frames", frames}, {"reason", "before-key-frame"}};
    add_entry(JournalEvent{offsets_ns_.back(), json::to_text(dropped)});
  }
}

void Recorder::add_entry(JournalEntry entry) {
  UnpublishedChunk& chunk = open_->chunk;
  chunk.journal.add(entry);
  if (const auto* frame = std::get_if<JournalFrame>(&entry)) {
    chunk.bytes += frame->data.size();
    unlooked_bytes_ += frame->data.size();
    uncommitted_bytes_ += frame->data.size();
    ++window_.frames_pending;
  }
  chunk.journal.hand_over();
  chunk.entries.push_back(std::move(entry));
}

bool Recorder::flush_is_due() const { return uncommitted_bytes_ >= std::min(kFlushBytes, options_.reserve_bytes / 8); }

Status Recorder::commit() {
  if (open_) MC_TRY(commit_open());
  MC_TRY(tell_published());
  if (!look_is_due_ && unlooked_bytes_ < std::min(kLookEveryBytes, options_.reserve_bytes / 16)) return {};
  unlooked_bytes_ = 0;
  look_is_due_ = false;
  const DiskLevel level = look_at_disk();
  if (level == DiskLevel::full) return fail(no_room());
  return {};
}

Status Recorder::commit_open() {
  UnpublishedChunk& chunk = open_->chunk;
  if (chunk.journal.is_flushed()) return {};
  const std::int64_t begin_ns = options_.clock->monotonic_ns();
  if (const Status flushed = chunk.journal.flush(); !flushed) {
    MC_TRY(errors_->accept(flushed.error(), "the journal is written again to a new file"));
    MC_TRY(chunk.journal.rewrite(*fs_, directory_, chunk.entries, nullptr));
  }
  const std::int64_t now_ns = options_.clock->monotonic_ns();
  window_.last_flush_us = static_cast<std::uint64_t>(now_ns - begin_ns) / 1000;
  ++window_.flushes;
  window_.frames_pending = 0;
  uncommitted_bytes_ = 0;
  for (const std::int64_t since_ns : pending_since_ns_) window_.frame_to_durable.add(now_ns - since_ns);
  pending_since_ns_.clear();
  for (; open_->acknowledged < chunk.entries.size(); ++open_->acknowledged) {
    const auto* frame = std::get_if<JournalFrame>(&chunk.entries[open_->acknowledged]);
    if (frame != nullptr && options_.on_durable) {
      options_.on_durable({frame->sample.track_id, frame->sample.decode_time, chunk.head.chunk});
    }
  }
  return {};
}

bool Recorder::knows_all_followers(const UnpublishedChunk& chunk) const {
  return std::ranges::all_of(chunk.entries, [&](const JournalEntry& entry) {
    const auto* frame = std::get_if<JournalFrame>(&entry);
    return frame == nullptr || chunk.next.contains(frame->sample.track_id);
  });
}

Status Recorder::submit_closing() {
  UnpublishedChunk chunk = std::move(*closing_);
  closing_.reset();
  chunk.seal = make_seal(state_.movie, chunk.entries, chunk.next);
  for (const auto& last : chunk.seal.last) {
    if (chunk.next.contains(last.track)) continue;
    RecordingState::TrackEnd& end = state_.ends[last.track];  // it has no later frame yet
    end.end = end.decode_time + last.duration;
    end.sealed = true;
  }
  chunk.movie = std::make_shared<const mp4::Movie>(state_.movie);
  return publisher_->submit(std::move(chunk));
}

Status Recorder::tell_published() {
  MC_TRY_ASSIGN(const auto lines, publisher_->published());
  for (const wire::ChunkLine& line : lines) {
    if (options_.on_chunk) options_.on_chunk(line, wire::chunk_name(line.number));
  }
  return {};
}

void Recorder::set_marks(const sys::SpaceInfo& space) {
  const auto mark = [&](std::uint64_t usual, std::uint64_t share, std::uint64_t least) {
    return space.total_bytes == 0 ? usual : std::clamp(space.total_bytes / share, least, usual);
  };
  if (options_.reserve_bytes == 0) options_.reserve_bytes = mark(kReserveBytes, 10, kLeastReserveBytes);
  if (options_.warn_bytes == 0) options_.warn_bytes = mark(kWarnBytes, 3, 2 * kLeastReserveBytes);
  options_.warn_bytes = std::max(options_.reserve_bytes, options_.warn_bytes);
}

// A file system that does not say how much room it has is written to as long as it takes it.
Result<sys::SpaceInfo> Recorder::room() {
  auto space = fs_->space(directory_);
  if (!space && !std::exchange(disk_unknown_, true)) {
    options_.log(LogLevel::warning, space.error().message + "; how much room is left is not known");
  }
  return space;
}

// Chunks that are only in journals need their room once more.
DiskLevel Recorder::look_at_disk() {
  const auto space = room();
  if (!space) return disk_;
  disk_unknown_ = false;
  const std::uint64_t owed = (publisher_ ? publisher_->unpublished_bytes() : 0) + (open_ ? open_->chunk.bytes : 0) +
                             (closing_ ? closing_->bytes : 0);
  const auto below = [&](std::uint64_t bytes, std::uint64_t inodes) {
    return space->free_bytes < bytes + owed || space->free_inodes < inodes;
  };
  const DiskLevel level = below(options_.reserve_bytes, kReserveInodes) ? DiskLevel::full
                          : below(options_.warn_bytes, kWarnInodes)     ? DiskLevel::low
                                                                        : DiskLevel::enough;
  if (level != std::exchange(disk_, level) && options_.on_disk) options_.on_disk(level, *space);
  return level;
}

Error Recorder::no_room() const {
  return Error{ErrorKind::no_space,
               "the disk of '" + directory_ + "' is full: less than the reserve of " +
                   std::to_string(options_.reserve_bytes) + " bytes or " + std::to_string(kReserveInodes) +
                   " inodes is free",
               ENOSPC, "make room and write into the same directory again: the recording goes on"};
}

Status Recorder::finish(EndOfStream how) {
  if (open_) {
    ledger_dropped();
    if (how == EndOfStream::disk_full) {
      add_entry(JournalEvent{recorded_ns(), json::to_text({{"event", "stopped"}, {"reason", "disk-full"}})});
    }
    // What was left out with no frame behind it is no hole between frames, and yet is to be told.
    add_entry(JournalEvent{recorded_ns(), json::to_text({{"event", "ended"}})});
    MC_TRY(commit_open());
  }
  if (closing_) MC_TRY(submit_closing());
  if (open_) {
    closing_ = std::move(open_->chunk);
    open_.reset();
    MC_TRY(submit_closing());
  }
  const Status drained = publisher_->drain();
  MC_TRY(tell_published());
  MC_TRY(std::move(drained));
  if (chunks() == 0) {
    return fail(Error{ErrorKind::damaged, "no frame came in: nothing was recorded into '" + directory_ + "'", 0,
                      "look at what the program before in the pipe says"});
  }
  const bool close = end_seen_ || (!has_events_ && how == EndOfStream::whole);
  if (!close || how == EndOfStream::disk_full) return {};
  MC_TRY(close_recording(*manifest_, chunks(), state_.listed_files));
  closed_ = true;
  return {};
}

}  // namespace mc::spool
