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
  log(LogLevel::warning, "'" + path + "' is not what its journal says; kept as '" + aside + "'");
  MC_TRY(fs.rename(path, aside));
  return fs.sync_directory(directory);
}

class Recovery {
 public:
  Recovery(sys::FileSystem& fs, const std::string& directory, const Log& log)
      : fs_(fs), directory_(directory), log_(log) {}

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
    std::vector<ChunkNumber> journals;
    for (const auto& entry : entries) {
      if (const auto chunk = parse_journal_name(entry.name)) journals.push_back(*chunk);
    }
    std::ranges::sort(journals);
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

  Status replay(const std::vector<ChunkNumber>& journals) {
    for (std::size_t i = 0; i < journals.size(); ++i) {
      const std::string path = path_of(journal_name(journals[i]));
      if (journals[i] >= state_.next_chunk && !state_.closed) {
        MC_TRY_ASSIGN(const ByteBuffer bytes, sys::read_file(fs_, path, kMaxChunkFileBytes));
        JournalContent content = parse_journal(bytes);
        // The frame that fixes the last durations stands in the next journal, when there is one.
        NextFrames next;
        if (!content.seal && i + 1 < journals.size()) {
          MC_TRY_ASSIGN(next, first_frames(path_of(journal_name(journals[i + 1]))));
        }
        MC_TRY(rebuild(content, next));
      }
      MC_TRY(fs_.remove(path));
    }
    return fs_.sync_directory(directory_);
  }

  Result<NextFrames> first_frames(const std::string& path) {
    MC_TRY_ASSIGN(const ByteBuffer bytes, sys::read_file(fs_, path, kMaxChunkFileBytes));
    NextFrames next;
    for (const auto& entry : parse_journal(bytes).entries) {
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
    MC_TRY(publish_chunk(fs_, directory_, chunk.line, chunk.bytes, chunk.ledger, log_));
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
      MC_TRY(publish_chunk(fs_, directory_, *line, *bytes, {}, log_));
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
  RecordingState state_;
  bool torn_tail_ = false;
  std::uint64_t intact_bytes_ = 0;
};

}  // namespace

Result<RecordingState> recover_recording(sys::FileSystem& fs, const std::string& directory, const Log& log) {
  return Recovery(fs, directory, log).run();
}

Status append_manifest(sys::FileSystem& fs, const std::string& directory, const std::string& lines) {
  MC_TRY_ASSIGN(const auto file, fs.open_append(sys::join_path(directory, wire::kManifestName)));
  MC_TRY(file->write(as_bytes(lines)));
  MC_TRY(file->sync_data());
  return file->close();
}

Status publish_chunk(sys::FileSystem& fs, const std::string& directory, const wire::ChunkLine& line, ByteView bytes,
                     const std::string& ledger, const Log& log) {
  const std::string name = wire::chunk_name(line.number);
  const std::string path = sys::join_path(directory, name);
  const std::string sha256 = digest::sha256_hex(bytes);
  bool present = false;
  if (const auto found = fs.info(path); found) {
    MC_TRY_ASSIGN(const FileHash hash, hash_file(fs, path));
    present = hash.sha256 == sha256;
    if (!present) MC_TRY(set_aside(fs, directory, name, log));
  }
  if (present) {
    // Published before the crash, but perhaps not yet durable: neither its bytes nor its name.
    MC_TRY_ASSIGN(const auto file, fs.open_update(path));
    MC_TRY(file->sync());
    MC_TRY(file->close());
    MC_TRY(fs.sync_directory(directory));
  } else {
    const std::string staged = stage_path(directory, name);
    MC_TRY(sys::stage_file(fs, staged, bytes));
    MC_TRY(sys::publish_file(fs, staged, path));
  }
  return append_manifest(fs, directory, wire::chunk_lines(line, sha256, ledger));
}

Status close_recording(sys::FileSystem& fs, const std::string& directory) {
  MC_TRY_ASSIGN(const LoadedManifest loaded, load_manifest(fs, directory));
  if (loaded.manifest.end) return {};
  const std::uint32_t chunks = loaded.manifest.chunk_count();
  if (chunks == 0) {
    return fail(Error{ErrorKind::damaged, "'" + directory + "' holds no frame", 0,
                      "an empty recording is not closed: look at why nothing came in"});
  }
  return append_manifest(fs, directory, wire::end_line(chunks, digest::sha256_hex(loaded.bytes)));
}

}  // namespace mc::spool
