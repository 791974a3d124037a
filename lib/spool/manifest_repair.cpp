#include "spool/manifest_repair.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>

#include "mp4/movie.hpp"
#include "spool/chunk_builder.hpp"
#include "spool/journal.hpp"

namespace mc::spool {
namespace {

// The lines of one file: its description, for a chunk its ledger, and its hash line.
struct Group {
  std::string description, ledger, hash_line;  // with newlines; empty: not whole
  std::string sha256;                          // of the hash line
  bool is_whole() const { return !description.empty() && !hash_line.empty(); }
  std::string text() const { return description + ledger + hash_line; }
};

// The number behind `key` in a line, as in "# chunk 7 … init=2 …".
std::optional<std::uint32_t> number_after(std::string_view line, std::string_view key) {
  const auto at = line.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  std::uint32_t number = 0;
  const char* const end = line.data() + line.size();
  const auto parsed = std::from_chars(line.data() + at + key.size(), end, number);
  return parsed.ec == std::errc{} ? std::optional(number) : std::nullopt;
}

// What is left of a manifest: its whole lines, those that can be mended among them, by the file that they speak of.
class Remains {
 public:
  explicit Remains(std::string_view text) {
    while (!text.empty()) text.remove_prefix(std::min(take_first(text), text.size()));
  }

  std::string header, recording, t0, end;  // lines; empty: lost
  std::map<std::uint32_t, Group> inits, chunks;
  std::map<std::uint32_t, std::uint32_t> chunk_behind_init;
  bool torn = false;       // ends inside a line
  std::size_t mended = 0;  // lines of which one byte was wrong
  std::size_t lost = 0;    // lines that say nothing any more
  std::string last_lost;   // the last line of all, when it is one of these

 private:
  // The line that `text` begins with; how many bytes it takes.
  std::size_t take_first(std::string_view text) {
    if (const std::size_t n = wire::whole_line_length(text); n > 0) {
      take(text.substr(0, n));
      if (n < text.size() && text[n] != '\n') ++mended;
      torn = torn || n == text.size();
      return n + 1;
    }
    const auto newline = text.find('\n');
    if (newline == std::string_view::npos) {
      torn = true;
      return text.size();
    }
    // One byte of the line is wrong, or a byte inside a line has become a newline.
    for (const auto behind : {newline, text.find('\n', newline + 1)}) {
      if (behind == std::string_view::npos) continue;
      if (const auto line = wire::mend_line(text.substr(0, behind))) {
        ++mended;
        take(*line);
        return behind + 1;
      }
    }
    ++lost;
    if (newline + 1 == text.size()) last_lost = text.substr(0, newline);
    return newline + 1;
  }

  void take(std::string_view line) {
    const std::string text = std::string(line) + "\n";
    if (!line.starts_with("# ")) return take_hash_line(line, text);
    if (line.starts_with("# maycast-manifest ")) {
      header = text;
    } else if (line.starts_with("# recording ")) {
      recording = text;
    } else if (line.starts_with("# t0 ")) {
      t0 = text;
    } else if (line.starts_with("# end ")) {
      end = text;
    } else if (const auto init = number_after(line, "# init "); init && line.starts_with("# init ")) {
      next_init_ = *init;
      inits[*init].description = text;
      // It never stands inside a chunk's lines: these have lost their hash line.
      if (const auto open = chunks.find(next_chunk_); open != chunks.end() && !open->second.description.empty()) {
        ++next_chunk_;
      }
      chunk_behind_init.emplace(*init, next_chunk_);
    } else if (const auto chunk = number_after(line, "# chunk "); chunk && line.starts_with("# chunk ")) {
      next_chunk_ = *chunk;
      chunks[*chunk].description = text;
    } else {
      chunks[next_chunk_].ledger += text;
    }
  }

  // A hash line has no CRC, so that its name may be wrong; but lines may be lost in front of it, too. What it says of
  // the wrong file is found out when that is read.
  void take_hash_line(std::string_view line, const std::string& text) {
    constexpr std::size_t kHashDigits = 64;
    constexpr std::size_t kNameAt = kHashDigits + 2;
    const auto named = *wire::parse_file_name(line.substr(kNameAt));
    const bool is_chunk = named.kind == wire::FileKind::chunk;
    auto& groups = is_chunk ? chunks : inits;
    std::uint32_t& due = is_chunk ? next_chunk_ : next_init_;
    const auto name_of = [&](std::uint32_t number) {
      return is_chunk ? wire::chunk_name(ChunkNumber{number}) : wire::init_name(InitNumber{number});
    };
    due = std::max(due, named.number);
    Group& group = groups[due];
    if (!is_chunk) chunk_behind_init.emplace(due, next_chunk_);
    group.sha256 = line.substr(0, kHashDigits);
    group.hash_line = text.substr(0, kNameAt) + name_of(due) + "\n";
    ++due;
  }

  std::uint32_t next_chunk_ = 1;  // that lines without a number belong to
  std::uint32_t next_init_ = 1;
};

class Repair {
 public:
  Repair(sys::FileSystem& fs, const std::string& directory, Remains remains)
      : fs_(fs), directory_(directory), remains_(std::move(remains)) {}

  // The whole manifest.
  Result<std::string> run() {
    find_inits();
    const std::uint32_t last = last_chunk();
    for (std::uint32_t n = 1; n <= last + 1; ++n) {
      for (const auto& [init, behind] : remains_.chunk_behind_init) {
        if (behind == n) MC_TRY(add_init(InitNumber{init}));
      }
      if (n > last) break;
      const Group& group = remains_.chunks[n];
      // What came last, is not whole and was not durable yet is the journal's to say, or the chunk's own.
      if (n == last && !group.is_whole() && (remains_.torn || is_there(journal_name(ChunkNumber{n})))) break;
      MC_TRY(add_chunk(ChunkNumber{n}, group));
    }
    MC_TRY(make_head());
    std::string text = remains_.header + remains_.recording + remains_.t0 + body_;
    const wire::Manifest made = wire::parse_manifest(as_bytes(text));
    if (!made.damage.empty() || made.torn_tail) return fail(beyond_repair("its lines do not fit together"));
    const std::string root = digest::sha256_hex(as_bytes(text));
    if (remains_.end.empty() && remains_.last_lost.find(root) != std::string::npos) {
      remains_.end = wire::end_line(made.chunk_count(), root);
    }
    const bool was_closed = !remains_.end.empty() || remains_.last_lost.starts_with("# end");
    if (was_closed && remains_.end.find(root) == std::string::npos) return fail(beyond_repair("it was closed"));
    return text + remains_.end;
  }

 private:
  struct ReadFile {
    ByteBuffer bytes;
    std::string sha256;
  };

  std::string path_of(const std::string& name) const { return sys::join_path(directory_, name); }

  bool is_there(const std::string& name) const { return fs_.info(path_of(name)).has_value(); }

  // A number that only a hash line has, and no file, is that of a damaged name.
  std::uint32_t last_chunk() const {
    std::uint32_t last = 0;
    for (const auto& [number, group] : remains_.chunks) {
      if (!group.description.empty() || is_there(wire::chunk_name(ChunkNumber{number}))) last = number;
    }
    return last;
  }

  Error beyond_repair(const std::string& why) const {
    return Error{ErrorKind::damaged, "the manifest of '" + directory_ + "' is damaged beyond repair: " + why, 0,
                 "nothing in it was changed: mc-verify says where; record into a new directory"};
  }

  // Inits whose lines are lost are taken from the files: in front of the first chunk that needs one so new, behind the
  // one before it and in front of the one behind it.
  void find_inits() {
    std::erase_if(remains_.chunk_behind_init, [&](const auto& entry) {
      return remains_.inits[entry.first].description.empty() && !is_there(wire::init_name(InitNumber{entry.first}));
    });
    std::uint32_t count = remains_.chunk_behind_init.empty() ? 0 : remains_.chunk_behind_init.rbegin()->first;
    while (is_there(wire::init_name(InitNumber{count + 1}))) ++count;
    std::uint32_t at = remains_.chunks.empty() ? 1 : remains_.chunks.rbegin()->first + 1;
    for (std::uint32_t k = count; k > 0; --k) {
      const auto known = remains_.chunk_behind_init.find(k);
      if (known != remains_.chunk_behind_init.end()) at = std::min(at, known->second);
      for (const auto& [number, group] : remains_.chunks) {
        if (known == remains_.chunk_behind_init.end() && number_after(group.description, " init=").value_or(0) >= k) {
          at = std::min(at, number);
        }
      }
      remains_.chunk_behind_init[k] = k == 1 ? 1 : at;
    }
  }

  // The file, if it is there and is what its hash line says, as far as that can be told.
  std::optional<ReadFile> read_listed(const std::string& name, const Group& group, std::uint64_t limit) const {
    auto bytes = sys::read_file(fs_, path_of(name), limit);
    if (!bytes) return std::nullopt;
    std::string sha256 = digest::sha256_hex(*bytes);
    if (!group.sha256.empty() && sha256 != group.sha256 && !is_damaged_copy(group.sha256, sha256)) {
      return std::nullopt;
    }
    return ReadFile{std::move(*bytes), std::move(sha256)};
  }

  // What there is to say of a file that is not there or not itself: its lines, when these are whole.
  Status keep_lines(const std::string& name, const Group& group) {
    if (!group.is_whole()) {
      return fail(Error{ErrorKind::damaged, "'" + path_of(name) + "' is lost together with its lines in the manifest",
                        0, "record into a new directory; nothing in this one was changed"});
    }
    body_ += group.text();
    last_.clear();  // where its tracks end is not known
    return {};
  }

  Status add_init(InitNumber number) {
    const std::string name = wire::init_name(number);
    const Group& group = remains_.inits[number.value];
    auto file = read_listed(name, group, kMaxInitBytes);
    const auto movie = file ? mp4::parse_init(file->bytes) : fail(ErrorKind::damaged, "not there");
    if (!movie) return keep_lines(name, group);
    body_ += init_lines(number, *movie, file->bytes);
    inits_[number.value] = std::move(file->bytes);
    return {};
  }

  Status add_chunk(ChunkNumber number, const Group& group) {
    const std::string name = wire::chunk_name(number);
    auto file = read_listed(name, group, kMaxChunkFileBytes);
    const std::uint32_t newest = inits_.empty() ? 0 : inits_.rbegin()->first;
    const InitNumber init{number_after(group.description, " init=").value_or(newest)};
    // With its description lost a file speaks for itself, whatever hash was listed.
    if (!file && !group.is_whole()) file = read_listed(name, {}, kMaxChunkFileBytes);
    auto described = file ? describe_chunk(number, init, inits_[init.value], file->bytes, std::exchange(last_, {}))
                          : Result<DescribedChunk>(fail(ErrorKind::damaged, "not there"));
    if (!described) return keep_lines(name, group);
    body_ += wire::chunk_lines(described->line, file->sha256, complete_ledger(*described, group.ledger));
    last_ = std::move(described->last);
    return {};
  }

  // Lines of the head that are lost are made anew: another id, since nobody knows the old one.
  Status make_head() {
    if (remains_.header.empty()) remains_.header = wire::header_line();
    if (remains_.recording.empty()) {
      MC_TRY_ASSIGN(const auto path, path_from_directory(directory_));
      MC_TRY_ASSIGN(const ByteBuffer id, digest::random_bytes(16));
      remains_.recording = wire::recording_line(digest::to_hex(id), path);
    }
    if (remains_.t0.empty()) remains_.t0 = wire::t0_line(find_t0().value_or(0), -1);
    return {};
  }

  // From a journal, exactly, else from the first chunk.
  std::optional<std::int64_t> find_t0() const {
    const auto entries = fs_.list(directory_);
    for (const auto& entry : entries ? *entries : std::vector<sys::DirectoryEntry>{}) {
      if (!parse_journal_name(entry.name)) continue;
      const auto journal = sys::read_file(fs_, path_of(entry.name), kMaxChunkFileBytes);
      const auto content = journal ? parse_journal(*journal) : JournalContent{};
      if (content.head) return content.head->t0_wall_ns;
    }
    const auto bytes = sys::read_file(fs_, path_of(wire::chunk_name(ChunkNumber{1})), kMaxChunkFileBytes);
    if (!bytes || inits_.empty()) return std::nullopt;
    const auto chunk = describe_chunk(ChunkNumber{1}, InitNumber{1}, inits_.begin()->second, *bytes, {});
    return chunk ? chunk->t0_wall_ns : std::nullopt;
  }

  sys::FileSystem& fs_;
  const std::string& directory_;
  Remains remains_;
  std::string body_;
  std::map<std::uint32_t, ByteBuffer> inits_;
  LastFrames last_;
};

}  // namespace

bool is_damaged(const LoadedManifest& loaded) {
  const wire::Manifest& m = loaded.manifest;
  if (!m.damage.empty() || m.version == 0 || !m.path || !m.t0_wall_ns) return true;
  if (m.end) return !loaded.root_matches;
  return wire::has_damaged_newline(as_text(loaded.bytes));
}

bool is_damaged_copy(const std::string& listed, const std::string& sha256) {
  constexpr std::size_t kMostWrong = 16;  // of 64 digits
  if (listed.size() != sha256.size() || listed == sha256) return false;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < listed.size(); ++i) wrong += listed[i] == sha256[i] ? 0U : 1U;
  return wrong <= kMostWrong;
}

Status repair_manifest(sys::FileSystem& fs, const std::string& directory, DiskErrors& errors) {
  const std::string path = sys::join_path(directory, wire::kManifestName);
  auto bytes = sys::read_file(fs, path, kMaxManifestBytes);
  if (!bytes && bytes.error().kind != ErrorKind::not_found) return fail(std::move(bytes).error());
  const ByteBuffer before = bytes ? std::move(*bytes) : ByteBuffer{};
  Remains remains(as_text(before));
  const std::string what =
      std::to_string(remains.mended) + " lines had one wrong byte, " + std::to_string(remains.lost) + " are lost";
  MC_TRY_ASSIGN(const std::string text, Repair(fs, directory, std::move(remains)).run());
  if (text == as_text(before)) return {};
  std::string kept;
  if (!before.empty()) {
    kept = aside_name(wire::kManifestName, digest::sha256_hex(before));
    MC_TRY(publish_durably(fs, directory, kept, before, errors));
    kept = "; as it was it is kept as '" + sys::join_path(directory, kept) + "'";
  }
  errors.log()(LogLevel::warning,
               "'" + path + "' was damaged (" + what + ") and is put right from what is there" + kept);
  return publish_durably(fs, directory, wire::kManifestName, as_bytes(text), errors);
}

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

}  // namespace mc::spool
