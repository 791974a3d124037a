#include "spool/recorder.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/json.hpp"
#include "digest/sha256.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

// SESSION/TAKE/GUEST from the directory's own place, else solo/001/NAME.
Result<wire::RecordingPath> path_from_directory(const std::string& directory) {
  std::error_code ec;
  const auto absolute = std::filesystem::absolute(directory, ec).lexically_normal();
  std::vector<std::string> parts;
  for (const auto& part : absolute) {
    if (!part.empty() && part != "/") parts.push_back(part.string());
  }
  if (!ec && parts.size() >= 3) {
    const auto n = parts.size();
    if (wire::is_name(parts[n - 3]) && wire::is_take(parts[n - 2]) && wire::is_name(parts[n - 1])) {
      return wire::RecordingPath{parts[n - 3], parts[n - 2], parts[n - 1]};
    }
  }
  if (!parts.empty() && wire::is_name(parts.back())) return wire::RecordingPath{"solo", "001", parts.back()};
  return fail(Error{ErrorKind::usage, "cannot name the recording after '" + directory + "'", 0,
                    "name it with --as SESSION/TAKE/GUEST"});
}

std::vector<wire::TrackSummary> summarise(const mp4::Movie& movie) {
  std::vector<wire::TrackSummary> tracks;
  for (const auto& track : movie.tracks) {
    const char* kind = track.kind == mp4::TrackKind::video   ? "video"
                       : track.kind == mp4::TrackKind::audio ? "audio"
                                                             : "other";
    tracks.push_back({track.id, kind, track.timescale, track.nominal_duration,
                      track.descriptions.empty() ? "" : mp4::codec_string(track.descriptions.back())});
  }
  return tracks;
}

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
    : fs_(&fs), directory_(std::move(directory)), options_(std::move(options)) {}

Result<Recorder> Recorder::open(sys::FileSystem& fs, const std::string& directory, RecorderOptions options,
                                Locking locking) {
  MC_TRY(sys::make_directories(fs, directory));
  Recorder recorder(fs, directory, std::move(options));
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
  return recorder;
}

void Recorder::begin_stream() {
  cut_.reset();
  offset_ns_.reset();
  stream_t0_wall_ns_.reset();
  started_.clear();
  last_description_.clear();
  stream_movie_ = {};
  has_events_ = false;
  end_seen_ = false;
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
  if (!open_ || !offset_ns_) {
    early_events_.push_back(std::move(entry));
    return {};
  }
  entry.time_ns += *offset_ns_;
  add_event(std::move(entry));
  return {};
}

// Puts the stream's times on the recording's timeline: by the wall clock where both sides know it, and never backwards.
void Recorder::choose_offset(const mp4::Sample& first) {
  const mp4::Track* track = state_.movie.find(first.track_id);
  const std::int64_t stream_start = to_ns(first.decode_time, track->timescale);
  std::int64_t recorded = 0;
  for (const auto& [id, end] : state_.ends) {
    if (const mp4::Track* known = state_.movie.find(id))
      recorded = std::max(recorded, to_ns(end.end, known->timescale));
  }
  std::int64_t offset = *stream_t0_wall_ns_ - state_.t0_wall_ns;  // 0 for the stream that began the recording
  if (stream_start + offset < recorded) {
    options_.log(LogLevel::warning,
                 "the clock says that this input began before the last one ended; it is put behind it");
    offset = recorded - stream_start;
  }
  offset_ns_ = offset;
}

// Onto the recording's timeline, with strictly rising decode times. Presentation times are kept where they can be.
void Recorder::place(const mp4::Track& track, mp4::Sample& sample) {
  const std::int64_t offset = rescale(*offset_ns_, kNanosecondsPerSecond, track.timescale);
  sample.decode_time =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, static_cast<std::int64_t>(sample.decode_time) + offset));
  const auto end = state_.ends.find(track.id);
  if (end == state_.ends.end() || sample.decode_time > end->second.decode_time) return;
  const std::uint64_t moved = end->second.decode_time + 1;
  sample.composition_offset -= static_cast<std::int32_t>(moved - sample.decode_time);
  sample.decode_time = moved;
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
  if (!offset_ns_) choose_offset(sample);
  place(*track, sample);

  const auto described = last_description_.find(track->id);
  const bool other_description = described != last_description_.end() && described->second != sample.description;
  if (init_pending_ || !cut_ || (other_description && sample.sync)) cut_.emplace(state_.movie);
  if (cut_->starts_chunk(sample)) MC_TRY(open_chunk());
  last_description_[track->id] = sample.description;

  JournalFrame frame{sample, first_of_track && state_.ends.contains(track->id), now, std::move(item.data)};
  if (closing_) closing_->next.emplace(track->id, sample.decode_time);
  open_->journal.add_frame(frame);
  open_->entries.emplace_back(std::move(frame));
  state_.ends[track->id] = {sample.decode_time, sample.decode_time + sample.duration};
  started_[track->id] = true;
  ++frames_;
  if (closing_ && knows_all_followers(*closing_)) return finish_closing();
  return {};
}

// The manifest is born whole: head, t0 and the first init in one rename, so that it never exists without them.
Status Recorder::start_recording() {
  if (state_.recording_id.empty()) {
    MC_TRY_ASSIGN(const ByteBuffer id, digest::random_bytes(16));
    state_.recording_id = digest::to_hex(id);
  }
  state_.t0_wall_ns = *stream_t0_wall_ns_;
  const std::string staged = sys::join_path(directory_, std::string(".stage-") + wire::kManifestName);
  const std::string head = wire::header_line() + wire::recording_line(state_.recording_id, *state_.path) +
                           wire::t0_line(state_.t0_wall_ns, stream_bound_us_);
  MC_TRY(sys::stage_file(*fs_, staged, as_bytes(head)));
  MC_TRY(sys::publish_file(*fs_, staged, sys::join_path(directory_, wire::kManifestName)));
  state_.exists = true;
  return {};
}

Status Recorder::publish_init() {
  ByteBuffer bytes;
  mp4::write_init(state_.movie, bytes);
  const InitNumber number = state_.init.next();
  const std::string name = wire::init_name(number);
  const std::string path = sys::join_path(directory_, name);
  const std::string staged = sys::join_path(directory_, ".stage-" + name);
  // One that a crash left without its line is replaced: no chunk can refer to it yet.
  MC_TRY(sys::stage_file(*fs_, staged, bytes));
  MC_TRY(sys::publish_file(*fs_, staged, path));
  MC_TRY(append_manifest(*fs_, directory_,
                         wire::init_lines({number, bytes.size(), summarise(state_.movie)}, digest::sha256_hex(bytes))));
  state_.init = number;
  init_pending_ = false;
  return {};
}

// The next chunk's journal exists before the finished chunk is built, so that building never delays a frame.
Status Recorder::open_chunk() {
  if (closing_) MC_TRY(finish_closing());
  if (open_) {
    MC_TRY(commit_chunk(*open_));
    closing_ = std::move(open_);
    open_.reset();
  }
  if (init_pending_) MC_TRY(publish_init());
  JournalHead head{state_.next_chunk, state_.init, state_.t0_wall_ns, {}};
  for (const auto& [id, end] : state_.ends) head.last.push_back({id, end.decode_time});
  MC_TRY_ASSIGN(JournalWriter journal, JournalWriter::create(*fs_, directory_, head));
  open_.emplace(OpenChunk{std::move(head), std::move(journal), {}, 0, {}});
  state_.next_chunk = state_.next_chunk.next();
  if (closing_) {
    for (auto& event : unused_reasons(closing_->entries)) add_event(std::move(event));
  }
  for (auto& event : std::exchange(early_events_, {})) {
    event.time_ns += *offset_ns_;
    add_event(std::move(event));
  }
  for (const auto& [id, frames] : std::exchange(dropped_, {})) {
    const json::object dropped{{"event", "dropped"}, {"track", id}, {"frames", frames}, {"reason", "before-key-frame"}};
    add_event({*offset_ns_, json::to_text(dropped)});
  }
  return {};
}

void Recorder::add_event(JournalEvent event) {
  open_->journal.add_event(event);
  open_->entries.emplace_back(std::move(event));
}

Status Recorder::commit() {
  if (open_) MC_TRY(commit_chunk(*open_));
  return {};
}

Status Recorder::commit_chunk(OpenChunk& chunk) {
  MC_TRY(chunk.journal.flush());
  for (; chunk.acknowledged < chunk.entries.size(); ++chunk.acknowledged) {
    const auto* frame = std::get_if<JournalFrame>(&chunk.entries[chunk.acknowledged]);
    if (frame != nullptr && options_.on_durable) {
      options_.on_durable({frame->sample.track_id, frame->sample.decode_time, chunk.head.chunk});
    }
  }
  return {};
}

bool Recorder::knows_all_followers(const OpenChunk& chunk) const {
  return std::ranges::all_of(chunk.entries, [&](const JournalEntry& entry) {
    const auto* frame = std::get_if<JournalFrame>(&entry);
    return frame == nullptr || chunk.next.contains(frame->sample.track_id);
  });
}

Status Recorder::finish_closing() {
  OpenChunk chunk = std::move(*closing_);
  closing_.reset();
  // The init that the chunk was recorded with: a later one only adds descriptions behind.
  const JournalSeal seal = make_seal(state_.movie, chunk.entries, chunk.next);
  // Sealed durably before anything is staged: recovery must then build the very same bytes.
  chunk.journal.add_seal(seal);
  MC_TRY(chunk.journal.flush());
  MC_TRY_ASSIGN(const BuiltChunk built, build_chunk(state_.movie, chunk.head, chunk.entries, seal));
  MC_TRY(publish_chunk(*fs_, directory_, built.line, built.bytes, built.ledger, options_.log));
  // Only now: until the manifest is durable the journal is the only proof of these frames.
  MC_TRY(fs_->remove(chunk.journal.path()));
  if (options_.on_chunk) options_.on_chunk(built.line, wire::chunk_name(built.line.number));
  return {};
}

Status Recorder::finish(EndOfStream how) {
  MC_TRY(commit());
  if (closing_) MC_TRY(finish_closing());
  if (open_) {
    closing_ = std::move(open_);
    open_.reset();
    MC_TRY(finish_closing());
  }
  if (chunks() == 0) {
    return fail(Error{ErrorKind::damaged, "no frame came in: nothing was recorded into '" + directory_ + "'", 0,
                      "look at what the program before in the pipe says"});
  }
  const bool close = end_seen_ || (!has_events_ && how == EndOfStream::whole);
  if (!close) return {};
  MC_TRY(close_recording(*fs_, directory_));
  closed_ = true;
  return {};
}

}  // namespace mc::spool
