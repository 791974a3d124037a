#include "spool/recovery.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "digest/sha256.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/chunk_builder.hpp"
#include "spool/journal.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

constexpr char kStagePrefix[] = ".stage-";
constexpr char kAsidePrefix[] = ".aside-";
constexpr std::uint64_t kMaxInitBytes = 16U << 20;
constexpr std::uint64_t kMaxChunkFileBytes = 1U << 30;

std::string stage_path(const std::string& directory, const std::string& name) {
  return sys::join_path(directory, kStagePrefix + name);
}

// Out of the way, but kept: hidden, with its hash in the name so that two of them do not meet.
Status set_aside(sys::FileSystem& fs, const std::string& directory, const std::string& name, const Log& log) {
  const std::string path = sys::join_path(directory, name);
  MC_TRY_ASSIGN(const FileHash hash, hash_file(fs, path));
  const std::string aside = sys::join_path(directory, kAsidePrefix + name + "-" + hash.sha256.substr(0, 16));
  log(LogLevel::warning, "'" + path + "' is damaged or not what its journal says; kept as '" + aside + "'");
  MC_TRY(fs.rename(path, aside));
  return fs.sync_directory(directory);
}

class Recovery {
 public:
  Recovery(sys::FileSystem& fs, const std::string& directory, const Log& log)
      : fs_(fs), directory_(directory), log_(log), errors_(log) {}

  Result<RecordingState> run() {
    MC_TRY_ASSIGN(const auto entries, fs_.list(directory_));
    MC_TRY(load_state());
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
    if (!state_.closed) MC_TRY(adopt_orphans());
    MC_TRY(find_track_ends());
    return std::move(state_);
  }

 private:
  std::string path_of(const std::string& name) const { return sys::join_path(directory_, name); }

  Status load_state() {
    auto loaded = load_manifest(fs_, directory_);
    if (!loaded) {
      if (loaded.error().kind == ErrorKind::not_found) return {};
      return fail(std::move(loaded).error());
    }
    const wire::Manifest& m = loaded->manifest;
    if (!m.damage.empty()) {
      return fail(Error{ErrorKind::damaged,
                        "'" + path_of(wire::kManifestName) + "' line " + std::to_string(m.damage.front().line) + ": " +
                            m.damage.front().what,
                        0, "record into a new directory; nothing in this one was changed"});
    }
    state_.exists = true;
    torn_tail_ = m.torn_tail;
    intact_bytes_ = m.intact_bytes;
    state_.recording_id = m.recording_id;
    state_.path = m.path;
    state_.t0_wall_ns = m.t0_wall_ns.value_or(0);
    state_.closed = m.end.has_value();
    if (!m.gaps.empty() && m.gaps.back().from == m.gaps.back().to) state_.stop_reason = m.gaps.back().reason;
    state_.next_chunk = ChunkNumber{m.chunk_count() + 1};
    state_.init = InitNumber{static_cast<std::uint32_t>(m.files.size()) - m.chunk_count()};
    if (state_.init.value > 0) {
      MC_TRY_ASSIGN(state_.movie, read_init(state_.init));
    }
    return {};
  }

  Result<mp4::Movie> read_init(InitNumber number) {
    const std::string path = path_of(wire::init_name(number));
    auto bytes = sys::read_file(fs_, path, kMaxInitBytes);
    if (!bytes) {
      Error error = std::move(bytes).error();
      error.kind = ErrorKind::damaged;
      return fail(std::move(error));
    }
    auto movie = mp4::parse_init(*bytes);
    if (!movie) return fail(std::move(movie).error().within("'" + path + "'"));
    return movie;
  }

  // A crash before the manifest was born: nothing was acknowledged, and what lies here was never announced.
  Status clear_unborn(const std::vector<sys::DirectoryEntry>& entries) {
    for (const auto& entry : entries) {
      const auto name = wire::parse_file_name(entry.name);
      if (parse_journal_name(entry.name)) {
        MC_TRY(fs_.remove(path_of(entry.name)));
      } else if (name && name->kind == wire::FileKind::init) {
        MC_TRY(set_aside(fs_, directory_, entry.name, log_));
      } else if (name) {
        return fail(Error{ErrorKind::damaged, "'" + directory_ + "' holds '" + entry.name + "' but no manifest", 0,
                          "record into a new directory"});
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
      MC_TRY_ASSIGN(JournalContent content, read_journal(at->second));
      const bool damaged = content.damaged_inside;
      if (at->first >= state_.next_chunk && !state_.closed) {
        // The frame that fixes the last durations stands in the next journal, when there is one.
        NextFrames next;
        if (!content.seal && std::next(at) != journals.end()) {
          MC_TRY_ASSIGN(const JournalContent behind, read_journal(std::next(at)->second));
          next = first_frames(behind);
        }
        MC_TRY(rebuild(content, next));
      }
      for (const std::string& path : at->second) {
        // Frames may be lost between its whole records, which no crash does: somebody will want to look at it.
        MC_TRY(damaged ? set_aside(fs_, directory_, path.substr(path.rfind('/') + 1), log_) : fs_.remove(path));
      }
    }
    return fs_.sync_directory(directory_);
  }

  // Of all generations, the one that says most.
  Result<JournalContent> read_journal(const std::vector<std::string>& paths) {
    JournalContent best;
    for (const std::string& path : paths) {
      MC_TRY_ASSIGN(const ByteBuffer bytes, sys::read_file(fs_, path, kMaxChunkFileBytes));
      JournalContent content = parse_journal(bytes);
      if (says_more(content, best)) best = std::move(content);
    }
    return best;
  }

  static NextFrames first_frames(const JournalContent& content) {
    NextFrames next;
    for (const auto& entry : content.entries) {
      if (const auto* frame = std::get_if<JournalFrame>(&entry)) {
        next.emplace(frame->sample.track_id, frame->sample.decode_time);
      }
    }
    return next;
  }

  Status rebuild(JournalContent& content, const NextFrames& next) {
    const auto is_frame = [](const JournalEntry& entry) { return std::holds_alternative<JournalFrame>(entry); };
    const auto frames = std::ranges::count_if(content.entries, is_frame);
    if (!content.head || frames == 0) return {};  // nothing in it was acknowledged
    // An empty journal before this one leaves a number free; the frames count, not the number that was planned.
    content.head->chunk = state_.next_chunk;
    MC_TRY_ASSIGN(const mp4::Movie movie, read_init(content.head->init));
    const JournalSeal seal = content.seal ? *content.seal : make_seal(movie, content.entries, next);
    MC_TRY_ASSIGN(const BuiltChunk chunk, build_chunk(movie, *content.head, content.entries, seal));
    MC_TRY(publish_chunk(fs_, directory_, chunk.line, chunk.bytes, chunk.ledger, errors_));
    count_recovered(static_cast<std::uint64_t>(frames));
    return {};
  }

  void count_recovered(std::uint64_t frames) {
    state_.next_chunk = state_.next_chunk.next();
    ++state_.recovered_chunks;
    state_.recovered_frames += frames;
  }

  // A whole chunk that no line and no journal speaks of: its line was lost, its bytes are good.
  Status adopt_orphans() {
    for (;;) {
      const std::string name = wire::chunk_name(state_.next_chunk);
      auto bytes = sys::read_file(fs_, path_of(name), kMaxChunkFileBytes);
      if (!bytes) {
        if (bytes.error().kind == ErrorKind::not_found) return {};
        return fail(std::move(bytes).error());
      }
      MC_TRY_ASSIGN(const ByteBuffer init, sys::read_file(fs_, path_of(wire::init_name(state_.init)), kMaxInitBytes));
      const auto line = describe_chunk(state_.next_chunk, state_.init, init, *bytes);
      if (!line) {
        log_(LogLevel::warning, "'" + path_of(name) + "' " + line.error().message);
        return set_aside(fs_, directory_, name, log_);
      }
      MC_TRY(publish_chunk(fs_, directory_, *line, *bytes, {}, errors_));
      count_recovered(std::uint64_t{line->video} + line->audio);
    }
  }

  // Walks back from the newest chunk until every track has been seen: a track may be silent for a while.
  Status find_track_ends() {
    if (state_.init.value == 0) return {};
    MC_TRY_ASSIGN(const ByteBuffer init, sys::read_file(fs_, path_of(wire::init_name(state_.init)), kMaxInitBytes));
    for (std::uint32_t n = state_.next_chunk.value - 1; n > 0 && state_.ends.size() < state_.movie.tracks.size(); --n) {
      const std::string path = path_of(wire::chunk_name(ChunkNumber{n}));
      auto bytes = sys::read_file(fs_, path, kMaxChunkFileBytes);
      if (!bytes) return fail(std::move(bytes).error());
      mp4::StreamParser parser;
      parser.push(init);
      parser.push(*bytes);
      std::map<std::uint32_t, RecordingState::TrackEnd> ends;
      for (;;) {
        auto item = parser.next();
        if (!item) return fail(std::move(item).error().within("'" + path + "'"));
        if (!*item) break;
        if (const auto* found = std::get_if<mp4::SampleItem>(&**item)) {
          ends[found->sample.track_id] = {found->sample.decode_time,
                                          found->sample.decode_time + found->sample.duration};
        }
      }
      state_.ends.insert(ends.begin(), ends.end());
    }
    return {};
  }

  sys::FileSystem& fs_;
  const std::string& directory_;
  const Log& log_;
  DiskErrors errors_;
  RecordingState state_;
  bool torn_tail_ = false;
  std::uint64_t intact_bytes_ = 0;
};

}  // namespace

Status DiskErrors::accept(const Error& error, const std::string& remedy) {
  if (error.kind != ErrorKind::io) return fail(error);
  count_.fetch_add(1, std::memory_order_relaxed);
  log_(LogLevel::warning, error.message + "; " + remedy);
  return {};
}

Result<RecordingState> recover_recording(sys::FileSystem& fs, const std::string& directory, const Log& log) {
  return Recovery(fs, directory, log).run();
}

namespace {

Status append_durably(sys::FileSystem& fs, const std::string& path, const std::string& lines) {
  MC_TRY_ASSIGN(const auto file, fs.open_append(path));
  MC_TRY(file->write(as_bytes(lines)));
  MC_TRY(file->sync_data());
  return file->close();
}

// The manifest as it was durable before, and `lines`, in a new file: of the old one's last bytes nobody knows now what
// the disk holds.
Status rewrite_manifest(sys::FileSystem& fs, const std::string& directory, std::uint64_t durable_bytes,
                        const std::string& lines) {
  const std::string path = sys::join_path(directory, wire::kManifestName);
  MC_TRY_ASSIGN(ByteBuffer bytes, sys::read_file(fs, path, kMaxManifestBytes));
  if (bytes.size() < durable_bytes) return fail(ErrorKind::damaged, "'" + path + "' has become shorter");
  bytes.resize(durable_bytes);
  append(bytes, as_bytes(lines));
  const std::string staged = stage_path(directory, wire::kManifestName);
  MC_TRY(sys::stage_file(fs, staged, bytes));
  return sys::publish_file(fs, staged, path);
}

}  // namespace

Status append_manifest(sys::FileSystem& fs, const std::string& directory, const std::string& lines,
                       DiskErrors& errors) {
  const std::string path = sys::join_path(directory, wire::kManifestName);
  MC_TRY_ASSIGN(const auto before, fs.info(path));
  const Status appended = append_durably(fs, path, lines);
  if (appended) return {};
  MC_TRY(errors.accept(appended.error(), "the manifest is written again to a new file"));
  return rewrite_manifest(fs, directory, before.size_bytes, lines);
}

Status publish_durably(sys::FileSystem& fs, const std::string& directory, const std::string& name, ByteView bytes,
                       DiskErrors& errors) {
  const std::string staged = stage_path(directory, name);
  const std::string path = sys::join_path(directory, name);
  const auto attempt = [&]() -> Status {
    MC_TRY(sys::stage_file(fs, staged, bytes));
    return sys::publish_file(fs, staged, path);
  };
  const Status published = attempt();
  if (published) return {};
  MC_TRY(errors.accept(published.error(), "'" + name + "' is written again to a new file"));
  return attempt();
}

Status publish_chunk(sys::FileSystem& fs, const std::string& directory, const wire::ChunkLine& line, ByteView bytes,
                     const std::string& ledger, DiskErrors& errors) {
  const std::string name = wire::chunk_name(line.number);
  const std::string path = sys::join_path(directory, name);
  const std::string sha256 = digest::sha256_hex(bytes);
  bool present = false;
  if (fs.info(path)) {
    MC_TRY_ASSIGN(const FileHash hash, hash_file(fs, path));
    present = hash.sha256 == sha256;
    if (!present) MC_TRY(set_aside(fs, directory, name, errors.log()));
  }
  if (present) {
    // Published before a crash: its bytes were synced before it got its name, but the name is perhaps not durable.
    MC_TRY_ASSIGN(const auto file, fs.open_update(path));
    MC_TRY(file->sync());
    MC_TRY(file->close());
    MC_TRY(fs.sync_directory(directory));
  } else {
    MC_TRY(publish_durably(fs, directory, name, bytes, errors));
  }
  return append_manifest(fs, directory, wire::chunk_lines(line, sha256, ledger), errors);
}

Status close_recording(sys::FileSystem& fs, const std::string& directory, DiskErrors& errors) {
  MC_TRY_ASSIGN(const LoadedManifest loaded, load_manifest(fs, directory));
  if (loaded.manifest.end) return {};
  const std::uint32_t chunks = loaded.manifest.chunk_count();
  if (chunks == 0) {
    return fail(Error{ErrorKind::damaged, "'" + directory + "' holds no frame", 0,
                      "an empty recording is not closed: look at why nothing came in"});
  }
  return append_manifest(fs, directory, wire::end_line(chunks, digest::sha256_hex(loaded.bytes)), errors);
}

}  // namespace mc::spool
