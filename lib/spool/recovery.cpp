#include "spool/recovery.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

#include "digest/sha256.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/chunk_builder.hpp"
#include "spool/journal.hpp"
#include "spool/manifest_repair.hpp"
#include "spool/publish.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

class Recovery {
 public:
  Recovery(sys::FileSystem& fs, const std::string& directory, const Log& log)
      : fs_(fs), directory_(directory), log_(log), errors_(log), writer_(fs, directory, errors_) {}

  Result<RecordingState> run() {
    MC_TRY(load_state());
    MC_TRY_ASSIGN(const auto entries, fs_.list(directory_));
    for (const auto& entry : entries) {
      if (entry.name.starts_with(kStagePrefix)) MC_TRY(fs_.remove(path_of(entry.name)));
    }
    if (!state_.exists) {
      MC_TRY(clear_unborn(entries));
      return std::move(state_);
    }
    if (torn_tail_) MC_TRY(cut_torn_tail());
    std::map<ChunkNumber, std::vector<std::string>> journals;  // all generations of each
    for (const auto& entry : entries) {
      if (const auto name = parse_journal_name(entry.name)) journals[name->chunk].push_back(path_of(entry.name));
    }
    if (!journals.empty()) MC_TRY(replay(journals));
    if (!state_.closed) MC_TRY(adopt_orphans(std::nullopt));
    know_track_ends();
    return std::move(state_);
  }

 private:
  std::string path_of(const std::string& name) const { return sys::join_path(directory_, name); }

  // The manifest, put right when it is damaged; nothing when there never was one. One that is gone, with its frames
  // still there, is damaged.
  Result<std::optional<LoadedManifest>> load_sound_manifest() {
    for (bool repaired = false;; repaired = true) {
      auto loaded = load_manifest(fs_, directory_);
      if (!loaded && loaded.error().kind != ErrorKind::not_found) return fail(std::move(loaded).error());
      if (loaded && (repaired || !is_damaged(*loaded))) return std::move(*loaded);
      if (!loaded) {
        MC_TRY_ASSIGN(const bool lost, holds_frames(fs_, directory_));
        if (!lost) return std::optional<LoadedManifest>{};
      }
      MC_TRY(repair_manifest(fs_, directory_, errors_));
    }
  }

  Status load_state() {
    MC_TRY_ASSIGN(auto loaded, load_sound_manifest());
    if (!loaded) return {};
    wire::Manifest& m = loaded->manifest;
    state_.exists = true;
    torn_tail_ = m.torn_tail;
    intact_bytes_ = m.intact_bytes;
    state_.recording_id = m.recording_id;
    state_.path = m.path;
    state_.t0_wall_ns = m.t0_wall_ns.value_or(0);
    state_.closed = m.end.has_value();
    if (!m.gaps.empty() && m.gaps.back().from == m.gaps.back().to) state_.stop_reason = m.gaps.back().reason;
    state_.next_chunk = ChunkNumber{m.chunk_count() + 1};
    state_.listed_files = m.files.size();
    std::ranges::copy_if(m.files, std::back_inserter(chunks_), [](const auto& file) { return file.chunk.has_value(); });
    const InitNumber init{static_cast<std::uint32_t>(m.files.size()) - m.chunk_count()};
    return init.value > 0 ? use_init(init) : Status{};
  }

  struct Init {
    ByteBuffer bytes;
    mp4::Movie movie;
  };
  Result<Init> read_init(InitNumber number) {
    const std::string path = path_of(wire::init_name(number));
    auto bytes = sys::read_file(fs_, path, kMaxInitBytes);
    if (!bytes) {
      Error error = std::move(bytes).error();
      error.kind = ErrorKind::damaged;
      return fail(std::move(error));
    }
    auto movie = mp4::parse_init(*bytes);
    if (!movie) return fail(std::move(movie).error().within("'" + path + "'"));
    return Init{std::move(*bytes), std::move(*movie)};
  }

  // It is the newest now.
  Status use_init(InitNumber number) {
    MC_TRY_ASSIGN(Init init, read_init(number));
    state_.init = number;
    state_.movie = std::move(init.movie);
    init_bytes_ = std::move(init.bytes);
    return {};
  }

  // A crash before the manifest was born: nothing was acknowledged, and what lies here was never announced.
  Status clear_unborn(const std::vector<sys::DirectoryEntry>& entries) {
    for (const auto& entry : entries) {
      const auto name = wire::parse_file_name(entry.name);
      if (parse_journal_name(entry.name)) {
        MC_TRY(fs_.remove(path_of(entry.name)));
      } else if (name && name->kind == wire::FileKind::init) {
        MC_TRY(set_aside(fs_, directory_, entry.name, log_));
      }
    }
    return {};
  }

  Status cut_torn_tail() {
    const std::string path = path_of(wire::kManifestName);
    log_(LogLevel::warning, "'" + path + "' ends in a torn line, which is cut off");
    MC_TRY_ASSIGN(const auto file, fs_.open_update(path));
    MC_TRY(file->truncate(intact_bytes_));
    MC_TRY(file->sync());
    return file->close();
  }

  using Journals = std::map<ChunkNumber, std::vector<std::string>>;

  Status replay(const Journals& journals) {
    for (auto at = journals.begin(); at != journals.end(); ++at) {
      MC_TRY_ASSIGN(JournalContent content, read_journal(at->first, at->second));
      bool keep = content.damaged_inside;  // somebody will want to look at it
      if (at->first < state_.next_chunk) {
        MC_TRY_ASSIGN(const bool good, make_good(at->first, content));
        keep = keep || !good;
      } else if (!state_.closed) {
        MC_TRY(adopt_orphans(at->first));  // before it takes the number of one of them
        // The frames that fix the last durations stand in the next journals, when there are any.
        NextFrames next;
        if (!content.seal) {
          for (auto behind = std::next(at); behind != journals.end(); ++behind) {
            MC_TRY_ASSIGN(const JournalContent later, read_journal(behind->first, behind->second));
            add_first_frames(later, next);
          }
        }
        MC_TRY(rebuild(at->first, content, next));
      }
      for (const std::string& path : at->second) {
        MC_TRY(keep ? set_aside(fs_, directory_, path.substr(path.rfind('/') + 1), log_) : fs_.remove(path));
      }
    }
    return fs_.sync_directory(directory_);
  }

  // Of all generations, the one that says most.
  Result<JournalContent> read_journal(ChunkNumber chunk, const std::vector<std::string>& paths) {
    JournalContent best;
    for (const std::string& path : paths) {
      MC_TRY_ASSIGN(const ByteBuffer bytes, sys::read_file(fs_, path, kMaxChunkFileBytes));
      JournalContent content = parse_journal(bytes, JournalKey{chunk, state_.t0_wall_ns});
      if (says_more(content, best)) best = std::move(content);
    }
    return best;
  }

  static void add_first_frames(const JournalContent& content, NextFrames& next) {
    for (const auto& entry : content.entries) {
      if (const auto* frame = std::get_if<JournalFrame>(&entry)) {
        next.emplace(frame->sample.track_id, frame->sample.decode_time);
      }
    }
  }

  // A listed chunk whose journal is still there: is the chunk what its line says? One that is not is built again from
  // the journal, when that gives just the bytes of the line. False: neither; the journal may be all that there is.
  Result<bool> make_good(ChunkNumber number, const JournalContent& content) {
    const std::string name = wire::chunk_name(number);
    if (number.value > chunks_.size()) return true;  // built just now
    const std::string& listed = chunks_[number.value - 1].sha256;
    const auto hash = hash_file(fs_, path_of(name));
    if (hash && hash->sha256 == listed) return true;
    if (!content.head || !content.seal) return false;
    MC_TRY_ASSIGN(const Init init, read_init(content.head->init));
    const auto chunk = build_chunk(init.movie, *content.head, content.entries, *content.seal);
    if (!chunk || digest::sha256_hex(chunk->bytes) != listed) return false;
    if (hash) MC_TRY(set_aside(fs_, directory_, name, log_));
    MC_TRY(publish_durably(fs_, directory_, name, chunk->bytes, errors_));
    log_(LogLevel::warning, "'" + path_of(name) + "' was not what the manifest lists; built again from its journal");
    return true;
  }

  Status rebuild(ChunkNumber number, JournalContent& content, const NextFrames& next) {
    const auto is_frame = [](const JournalEntry& entry) { return std::holds_alternative<JournalFrame>(entry); };
    const auto frames = std::ranges::count_if(content.entries, is_frame);
    if (frames == 0) return {};  // nothing in it was acknowledged
    if (!content.head) {
      know_track_ends();
      content.head = JournalHead{number, state_.init, state_.t0_wall_ns, {}};
      for (const auto& [id, end] : state_.ends) content.head->last.push_back({id, end.decode_time});
    }
    // An empty journal before this one leaves a number free; the frames count, not the number that was planned.
    content.head->chunk = state_.next_chunk;
    while (state_.init < content.head->init) MC_TRY(list_next_init());
    MC_TRY_ASSIGN(const Init init, read_init(content.head->init));
    const JournalSeal seal = content.seal ? *content.seal : make_seal(init.movie, content.entries, next);
    MC_TRY_ASSIGN(const BuiltChunk chunk, build_chunk(init.movie, *content.head, content.entries, seal));
    MC_TRY(publish_chunk(writer_, chunk.line, chunk.bytes, chunk.ledger));
    count_recovered(static_cast<std::uint64_t>(frames));
    return {};
  }

  void count_recovered(std::uint64_t frames) {
    state_.next_chunk = state_.next_chunk.next();
    ++state_.recovered_chunks;
    state_.recovered_frames += frames;
    ends_known_ = false;
  }

  // An init whose line is lost.
  Status list_next_init() {
    MC_TRY(use_init(state_.init.next()));
    MC_TRY(writer_.append(init_lines(state_.init, state_.movie, init_bytes_)));
    ++state_.orphans;
    ends_known_ = false;
    return {};
  }

  // Whole chunks that no line speaks of, up to number `end`: their lines were lost, their bytes are good.
  Status adopt_orphans(std::optional<ChunkNumber> end) {
    while (!end || state_.next_chunk < *end) {
      const std::string name = wire::chunk_name(state_.next_chunk);
      auto bytes = sys::read_file(fs_, path_of(name), kMaxChunkFileBytes);
      if (!bytes) {
        if (bytes.error().kind == ErrorKind::not_found) return {};
        return fail(std::move(bytes).error());
      }
      MC_TRY_ASSIGN(const auto chunk, describe_orphan(*bytes));
      if (!chunk) return set_aside(fs_, directory_, name, log_);
      MC_TRY(publish_chunk(writer_, chunk->line, *bytes, complete_ledger(*chunk, {})));
      ++state_.orphans;
      count_recovered(std::uint64_t{chunk->line.video} + chunk->line.audio);
    }
    return {};
  }

  // With the newest init that is listed; when that does not fit, with the next one that lies there.
  Result<std::optional<DescribedChunk>> describe_orphan(ByteView bytes) {
    for (;;) {
      know_track_ends();
      LastFrames before;
      for (const auto& [id, end] : state_.ends) before[id] = end.decode_time;
      std::string why = "has no init";
      if (state_.init.value > 0) {
        auto chunk = describe_chunk(state_.next_chunk, state_.init, init_bytes_, bytes, std::move(before));
        if (chunk) return std::move(*chunk);
        why = chunk.error().message;
      }
      if (!fs_.info(path_of(wire::init_name(state_.init.next())))) {
        log_(LogLevel::warning, "'" + path_of(wire::chunk_name(state_.next_chunk)) + "' " + why);
        return std::optional<DescribedChunk>{};
      }
      MC_TRY(list_next_init());
    }
  }

  // Walks back from the newest chunk until every track has been seen: a track may be silent for a while. A chunk whose
  // line says that it has nothing of them need not be read for that.
  void know_track_ends() {
    if (state_.init.value == 0 || ends_known_) return;
    ends_known_ = true;
    state_.ends.clear();
    for (std::uint32_t n = state_.next_chunk.value - 1; n > 0 && state_.ends.size() < state_.movie.tracks.size(); --n) {
      if (!may_hold_unseen_track(n)) continue;
      const std::string path = path_of(wire::chunk_name(ChunkNumber{n}));
      auto bytes = sys::read_file(fs_, path, kMaxChunkFileBytes);
      if (!bytes) {
        believe_line(n, bytes.error());
        continue;
      }
      mp4::StreamParser parser;
      parser.push(init_bytes_);
      parser.push(*bytes);
      std::map<std::uint32_t, RecordingState::TrackEnd> ends;
      for (;;) {
        auto item = parser.next();
        if (!item) {
          believe_line(n, std::move(item).error().within("'" + path + "'"));
          break;
        }
        if (!*item) break;
        if (const auto* found = std::get_if<mp4::SampleItem>(&**item)) {
          ends[found->sample.track_id] = {found->sample.decode_time, found->sample.decode_time + found->sample.duration,
                                          true};
        }
      }
      state_.ends.insert(ends.begin(), ends.end());
    }
  }

  // A listed chunk that cannot be read is no reason not to record: its line says where it ends.
  void believe_line(std::uint32_t n, const Error& error) {
    log_(LogLevel::error, error.message + "; where it ends is taken from the manifest");
    if (n > chunks_.size()) return;
    const wire::ChunkLine& line = *chunks_[n - 1].chunk;
    for (const mp4::Track& track : state_.movie.tracks) {
      const auto end = static_cast<std::uint64_t>(
          rescale(line.start.ticks + line.duration.ticks, line.start.timescale, track.timescale));
      state_.ends.try_emplace(
          track.id, RecordingState::TrackEnd{end - std::min<std::uint64_t>(end, track.nominal_duration), end, true});
    }
  }

  bool may_hold_unseen_track(std::uint32_t n) const {
    if (n > chunks_.size()) return true;
    const wire::ChunkLine& listed = *chunks_[n - 1].chunk;
    return std::ranges::any_of(state_.movie.tracks, [&](const mp4::Track& track) {
      if (state_.ends.contains(track.id)) return false;
      return track.kind == mp4::TrackKind::video   ? listed.video > 0
             : track.kind == mp4::TrackKind::audio ? listed.audio > 0
                                                   : true;
    });
  }

  sys::FileSystem& fs_;
  const std::string& directory_;
  const Log& log_;
  DiskErrors errors_;
  ManifestWriter writer_;
  RecordingState state_;
  ByteBuffer init_bytes_;                   // of state_.init
  std::vector<wire::ManifestFile> chunks_;  // that the manifest lists, those recovered just now left out
  bool torn_tail_ = false;
  std::uint64_t intact_bytes_ = 0;
  bool ends_known_ = false;
};

}  // namespace

Result<bool> holds_frames(sys::FileSystem& fs, const std::string& directory) {
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  for (const auto& entry : entries) {
    const auto name = wire::parse_file_name(entry.name);
    if (name && name->kind == wire::FileKind::chunk) return true;
    if (!parse_journal_name(entry.name)) continue;
    MC_TRY_ASSIGN(const ByteBuffer bytes,
                  sys::read_file(fs, sys::join_path(directory, entry.name), kMaxChunkFileBytes));
    if (!parse_journal(bytes).entries.empty()) return true;
  }
  return false;
}

Result<RecordingState> recover_recording(sys::FileSystem& fs, const std::string& directory, const Log& log) {
  return Recovery(fs, directory, log).run();
}

}  // namespace mc::spool
