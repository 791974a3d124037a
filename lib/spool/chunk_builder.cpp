#include "spool/chunk_builder.hpp"

#include <algorithm>
#include <utility>

#include "base/json.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/gap_rule.hpp"

namespace mc::spool {
namespace {

constexpr char kReasonSource[] = "source";        // the input's own time stamps leave a hole
constexpr char kReasonRestarted[] = "restarted";  // the recording was continued after a break
constexpr char kReasonUnknown[] = "unknown";      // the line that said it is lost
constexpr char kForcedCut[] = "cut";

struct TrackFrames {
  const mp4::Track* track = nullptr;
  std::vector<mp4::Sample> samples;
  std::vector<const JournalFrame*> frames;
};

std::uint64_t sum_durations(std::span<const mp4::Sample> samples) {
  std::uint64_t sum = 0;
  for (const auto& sample : samples) sum += sample.duration;
  return sum;
}

// Collects the ledger lines of a chunk while walking its entries in the order of arrival.
class Ledger {
 public:
  Ledger(const mp4::Movie& movie, const JournalHead& head) : movie_(movie) {
    for (const auto& last : head.last) last_[last.track] = last.decode_time;
  }

  void take(const JournalEvent& event) {
    auto object = json::parse_object(event.json);
    if (!object) return;
    const std::string kind = json::get_string(*object, "event").value_or("event");
    if (kind == "gap") {
      const auto track = json::get_int(*object, "track");
      if (track) {
        // Also of a track that the movie lacks: all of its frames may be lost.
        reason_[static_cast<std::uint32_t>(*track)] = *object;
        return;
      }
      for (const auto& candidate : movie_.tracks) reason_[candidate.id] = *object;
      return;
    }
    if (kind == "start" || kind == "end") return;
    if (kind == "ended") {
      // No frame follows that would show these holes.
      for (const auto& [id, given] : std::exchange(reason_, {})) write_note({"dropped", {}}, given);
      return;
    }
    if (kind == "stopped") {
      stopped_ = json::get_string(*object, "reason").value_or(kReasonSource);
      return;
    }
    wire::NoteLine note{kind, {{"t", std::to_string(event.time_ns) + "/1000000000"}}};
    write_note(std::move(note), *object);
  }

  void take(const mp4::Track& track, const JournalFrame& frame) {
    const auto last = last_.find(track.id);
    const auto hole = last == last_.end() ? std::nullopt : hole_between(track, last->second, frame.sample.decode_time);
    const auto given = reason_.find(track.id);
    if (hole) {
      const char* otherwise = frame.continues ? kReasonRestarted : kReasonSource;
      std::string reason = otherwise;
      if (given != reason_.end()) reason = json::get_string(given->second, "reason").value_or(otherwise);
      text_ += wire::gap_line(to_gap_line(track, *hole, std::move(reason)));
    } else if (given != reason_.end()) {
      // Something was left out without leaving a hole between frames, as in front of the very first one.
      write_note({"dropped", {}}, given->second);
    }
    if (given != reason_.end()) reason_.erase(given);
    last_[track.id] = frame.sample.decode_time;
  }

  // A writer that stops of itself says so where each track ends; how far the hole goes is known only when the recording
  // is continued.
  std::string text() && {
    if (!stopped_.empty()) {
      for (const auto& track : movie_.tracks) {
        const auto last = last_.find(track.id);
        if (last == last_.end()) continue;
        const std::uint64_t end = last->second + track.nominal_duration;
        text_ += wire::gap_line(to_gap_line(track, {end, end}, stopped_));
      }
    }
    return std::move(text_);
  }

 private:
  // `note` with the members of the event behind its own values.
  void write_note(wire::NoteLine note, const json::object& event) {
    for (const auto& [key, value] : event) {
      if (key == "event") continue;
      note.values.emplace_back(key, value.is_string() ? std::string(value.as_string()) : json::to_text(value));
    }
    text_ += wire::note_line(note);
  }

  const mp4::Movie& movie_;
  std::map<std::uint32_t, std::uint64_t> last_;
  std::map<std::uint32_t, json::object> reason_;  // of the next hole, by track: the gap event
  std::string stopped_;                           // why, or empty
  std::string text_;
};

std::vector<TrackFrames> by_track(const mp4::Movie& movie, std::span<const JournalEntry> entries) {
  std::vector<TrackFrames> tracks;
  for (const auto& track : movie.tracks) tracks.push_back({&track, {}, {}});
  for (const auto& entry : entries) {
    const auto* frame = std::get_if<JournalFrame>(&entry);
    if (frame == nullptr) continue;
    for (auto& candidate : tracks) {
      if (candidate.track->id != frame->sample.track_id) continue;
      candidate.samples.push_back(frame->sample);
      candidate.frames.push_back(frame);
    }
  }
  for (auto& track : tracks) {
    for (std::size_t i = 0; i + 1 < track.samples.size(); ++i) {
      track.samples[i].duration =
          static_cast<std::uint32_t>(track.samples[i + 1].decode_time - track.samples[i].decode_time);
    }
  }
  return tracks;
}

void count(wire::ChunkLine& line, const mp4::Track& track, std::size_t frames) {
  if (track.kind == mp4::TrackKind::video) line.video += static_cast<std::uint32_t>(frames);
  if (track.kind == mp4::TrackKind::audio) line.audio += static_cast<std::uint32_t>(frames);
}

// The track whose time the chunk's line gives: the movie's reference, or the first with frames when that has none.
const TrackFrames* time_track(const mp4::Movie& movie, std::span<const TrackFrames> tracks) {
  const TrackFrames* first = nullptr;
  for (const auto& track : tracks) {
    if (track.samples.empty()) continue;
    if (track.track == movie.reference()) return &track;
    if (first == nullptr) first = &track;
  }
  return first;
}

// Of the picture that rules where chunks end; true when there is none in the chunk.
bool begins_with_key_frame(const mp4::Movie& movie, std::span<const TrackFrames> tracks) {
  return std::ranges::all_of(tracks, [&](const TrackFrames& track) {
    return track.track != movie.reference() || track.track->kind != mp4::TrackKind::video || track.samples.empty() ||
           track.samples.front().sync;
  });
}

std::string forced_cut_line(ChunkNumber number) {
  return wire::note_line({kForcedCut, {{"chunk", std::to_string(number.value)}, {"reason", "no-key-frame"}}});
}

void set_time(wire::ChunkLine& line, const TrackFrames& track) {
  line.start = {static_cast<std::int64_t>(track.samples.front().decode_time), track.track->timescale};
  line.duration = {static_cast<std::int64_t>(sum_durations(track.samples)), track.track->timescale};
}

}  // namespace

JournalSeal make_seal(const mp4::Movie& movie, std::span<const JournalEntry> entries, const NextFrames& next) {
  std::map<std::uint32_t, const mp4::Sample*> last;
  for (const auto& entry : entries) {
    if (const auto* frame = std::get_if<JournalFrame>(&entry)) last[frame->sample.track_id] = &frame->sample;
  }
  JournalSeal seal;
  for (const auto& [id, sample] : last) {
    const mp4::Track* track = movie.find(id);
    if (track == nullptr) continue;
    std::uint32_t duration = track->nominal_duration > 0 ? track->nominal_duration : sample->duration;
    const auto follower = next.find(id);
    if (follower != next.end() && follower->second > sample->decode_time &&
        !hole_between(*track, sample->decode_time, follower->second)) {
      duration = static_cast<std::uint32_t>(follower->second - sample->decode_time);
    }
    seal.last.push_back({id, duration});
  }
  return seal;
}

Result<BuiltChunk> build_chunk(const mp4::Movie& movie, const JournalHead& head, std::span<const JournalEntry> entries,
                               const JournalSeal& seal) {
  Ledger ledger(movie, head);
  for (const auto& entry : entries) {
    if (const auto* event = std::get_if<JournalEvent>(&entry)) {
      ledger.take(*event);
      continue;
    }
    const auto& frame = std::get<JournalFrame>(entry);
    const mp4::Track* track = movie.find(frame.sample.track_id);
    if (track == nullptr) return fail(ErrorKind::damaged, "the journal names a track that the init does not have");
    ledger.take(*track, frame);
  }
  auto tracks = by_track(movie, entries);
  for (const auto& last : seal.last) {
    for (auto& track : tracks) {
      if (track.track->id == last.track && !track.samples.empty()) track.samples.back().duration = last.duration;
    }
  }
  const TrackFrames* timed = time_track(movie, tracks);
  if (timed == nullptr) return fail(ErrorKind::damaged, "the journal holds no frame");

  BuiltChunk chunk;
  mp4::write_styp(chunk.bytes);
  const std::uint64_t start = timed->samples.front().decode_time;
  const std::int64_t offset_ns =
      rescale(static_cast<std::int64_t>(start), timed->track->timescale, kNanosecondsPerSecond);
  std::int64_t captured_ns = 0;  // a journal may say any time; frames are worth more than it
  if (__builtin_add_overflow(head.t0_wall_ns, offset_ns, &captured_ns)) captured_ns = head.t0_wall_ns;
  mp4::write_prft({timed->track->id, start, captured_ns}, chunk.bytes);
  auto sequence = static_cast<std::uint32_t>((head.chunk.value - 1) * movie.tracks.size());
  for (const auto& track : tracks) {
    ++sequence;
    if (track.samples.empty()) continue;
    // A description change inside a chunk would need a second moof; the recorder cuts there instead.
    MC_TRY(mp4::write_fragment_header(sequence, track.samples, chunk.bytes));
    for (const JournalFrame* frame : track.frames) append(chunk.bytes, frame->data);
    count(chunk.line, *track.track, track.samples.size());
  }
  chunk.line.number = head.chunk;
  chunk.line.init = head.init;
  chunk.line.bytes = chunk.bytes.size();
  set_time(chunk.line, *timed);
  chunk.ledger = std::move(ledger).text();
  if (!begins_with_key_frame(movie, tracks)) chunk.ledger += forced_cut_line(head.chunk);
  return chunk;
}

Result<DescribedChunk> describe_chunk(ChunkNumber number, InitNumber init, ByteView init_bytes, ByteView chunk_bytes,
                                      LastFrames before) {
  MC_TRY_ASSIGN(const mp4::Movie movie, mp4::parse_init(init_bytes));
  mp4::StreamParser parser;
  parser.push(init_bytes);
  parser.push(chunk_bytes);
  DescribedChunk chunk;
  std::vector<TrackFrames> tracks;
  for (const auto& track : movie.tracks) tracks.push_back({&track, {}, {}});
  for (;;) {
    MC_TRY_ASSIGN(const auto item, parser.next());
    if (!item) break;
    if (const auto* producer = std::get_if<mp4::ProducerTimeItem>(&*item)) {
      const mp4::Track* track = movie.find(producer->time.track_id);
      if (track != nullptr) {
        chunk.t0_wall_ns = producer->time.wall_ns - rescale(static_cast<std::int64_t>(producer->time.media_time),
                                                            track->timescale, kNanosecondsPerSecond);
      }
    }
    if (const auto* sample = std::get_if<mp4::SampleItem>(&*item)) {
      for (auto& track : tracks) {
        if (track.track->id == sample->sample.track_id) track.samples.push_back(sample->sample);
      }
    }
  }
  if (parser.finish().torn_bytes > 0) return fail(ErrorKind::damaged, "ends inside a box");
  const TrackFrames* timed = time_track(movie, tracks);
  if (timed == nullptr) return fail(ErrorKind::damaged, "holds no frame");
  chunk.line.number = number;
  chunk.line.init = init;
  chunk.line.bytes = chunk_bytes.size();
  set_time(chunk.line, *timed);
  chunk.begins_with_key_frame = begins_with_key_frame(movie, tracks);
  chunk.last = std::move(before);
  for (const auto& track : tracks) {
    count(chunk.line, *track.track, track.samples.size());
    for (const auto& sample : track.samples) {
      const auto last = chunk.last.find(track.track->id);
      if (last != chunk.last.end()) {
        const auto hole = hole_between(*track.track, last->second, sample.decode_time);
        if (hole) chunk.holes.push_back(to_gap_line(*track.track, *hole, kReasonUnknown));
      }
      chunk.last[track.track->id] = sample.decode_time;
    }
  }
  return chunk;
}

std::string complete_ledger(const DescribedChunk& chunk, std::string kept) {
  const wire::Manifest said = wire::parse_manifest(as_bytes(kept));
  for (const wire::GapLine& hole : chunk.holes) {
    mp4::Track track;
    track.id = hole.track;
    track.timescale = hole.from.timescale;
    const Hole ticks{static_cast<std::uint64_t>(hole.from.ticks), static_cast<std::uint64_t>(hole.to.ticks)};
    if (!is_ledgered(said.gaps, track, ticks)) kept += wire::gap_line(hole);
  }
  if (!chunk.begins_with_key_frame && !is_forced_cut(said, chunk.line.number)) {
    kept += forced_cut_line(chunk.line.number);
  }
  return kept;
}

bool is_forced_cut(const wire::Manifest& manifest, ChunkNumber number) {
  return std::ranges::any_of(manifest.notes, [&](const wire::NoteLine& note) {
    return note.keyword == kForcedCut && note.value("chunk") == std::to_string(number.value);
  });
}

}  // namespace mc::spool
