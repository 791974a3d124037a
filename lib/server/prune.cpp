#include "server/prune.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/clock.hpp"
#include "server/message.hpp"
#include "spool/recording.hpp"
#include "store/binding.hpp"

namespace mc::server {
namespace {

constexpr char kPruningPrefix[] = ".pruning-";
constexpr char kPrunedPrefix[] = ".pruned-";
constexpr char kUnloggedPrefix[] = ".unlogged-";

// A file as it is seen from outside; the same again means that nobody touched it.
struct Seen {
  std::string name = {};
  sys::FileType type = sys::FileType::other;
  std::uint64_t size_bytes = 0, inode = 0;
  std::int64_t changed_ns = 0;
  bool operator==(const Seen&) const = default;
};

Result<std::vector<Seen>> look(sys::FileSystem& fs, const std::string& directory) {
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  std::vector<Seen> seen;
  for (const sys::DirectoryEntry& entry : entries) {
    const auto info = fs.info(sys::join_path(directory, entry.name));
    if (info) {
      seen.push_back({entry.name, info->type, info->size_bytes, info->inode, info->changed_ns});
    } else if (info.error().kind == ErrorKind::not_found) {
      seen.push_back({.name = entry.name});  // a stage that has just gone: the directory is in use
    } else {
      return fail(info.error());
    }
  }
  return seen;
}

struct Verdict {
  std::string kept_because;
  wire::Receipt receipt;
  std::vector<Seen> seen;
};

class Judge {
 public:
  Judge(sys::FileSystem& fs, std::string directory, const wire::RecordingPath& path, const PruneOptions& options)
      : fs_(fs), directory_(std::move(directory)), path_(path), options_(options) {}

  Result<Verdict> judge() {
    MC_TRY_ASSIGN(verdict_.seen, look(fs_, directory_));
    auto loaded = spool::load_manifest(fs_, directory_);
    if (!loaded && loaded.error().kind == ErrorKind::not_found) return kept("not Synced: it has no manifest");
    if (!loaded) return fail(std::move(loaded).error());
    const wire::Manifest& manifest = loaded->manifest;
    if (!manifest.damage.empty() || manifest.torn_tail) return kept("not Synced: its manifest is damaged");
    if (!manifest.end) return kept("not Synced: it is still open");
    if (!loaded->root_matches) return kept("not Synced: its manifest is damaged");
    if (auto why = stranger(manifest)) return kept(std::move(*why));
    MC_TRY_ASSIGN(auto why_not, find_receipt(*loaded));
    if (why_not) return kept(std::move(*why_not));
    for (const wire::ManifestFile& file : manifest.files) {
      const auto hash = spool::hash_file(fs_, sys::join_path(directory_, file.name));
      if (!hash && hash.error().kind == ErrorKind::not_found) return kept("not Synced: '" + file.name + "' is missing");
      if (!hash) return fail(hash.error());
      if (hash->sha256 != file.sha256 || hash->bytes != file.bytes()) {
        return kept("not Synced: '" + file.name + "' is damaged");
      }
    }
    return std::move(verdict_);
  }

 private:
  Verdict kept(std::string why) {
    verdict_.kept_because = std::move(why);
    return std::move(verdict_);
  }

  // Something in the directory that the receipt does not speak of.
  std::optional<std::string> stranger(const wire::Manifest& manifest) const {
    for (const Seen& seen : verdict_.seen) {
      const std::string quoted = "'" + seen.name + "'";
      if (seen.name.starts_with(".stage-")) return "something is being received";
      if (seen.name.starts_with(".conflict-") || seen.name.starts_with(".damaged-")) {
        return quoted + " is there for a person to look at";
      }
      if (seen.type == sys::FileType::file && seen.name == store::kBindingName) continue;
      const auto parsed = wire::parse_file_name(seen.name);
      if (!parsed || seen.type != sys::FileType::file) return quoted + " is none of its files";
      const bool is_media = parsed->kind == wire::FileKind::init || parsed->kind == wire::FileKind::chunk;
      if (is_media && manifest.find(seen.name) == nullptr) return quoted + " is not in its manifest";
    }
    return std::nullopt;
  }

  // The newest one that counts. Why there is none that is old enough, or nothing.
  Result<std::optional<std::string>> find_receipt(const spool::LoadedManifest& loaded) {
    bool is_found = false;
    for (const Seen& seen : verdict_.seen) {
      const auto parsed = wire::parse_file_name(seen.name);
      if (!parsed || parsed->kind != wire::FileKind::receipt) continue;
      MC_TRY_ASSIGN(const ByteBuffer text,
                    sys::read_file(fs_, sys::join_path(directory_, seen.name), wire::kMaxReceiptBytes));
      auto judged = spool::judge_receipt(seen.name, as_text(text), &loaded, options_.keys);
      if (judged.finding || !judged.is_signed || judged.receipt.path != path_) continue;
      if (is_found && judged.receipt.wall_ns < verdict_.receipt.wall_ns) continue;
      is_found = true;
      verdict_.receipt = std::move(judged.receipt);
    }
    if (!is_found) return "not Synced: it has no receipt by the key";
    const std::int64_t age_ns = options_.now_ns - verdict_.receipt.wall_ns;
    if (age_ns / 1'000'000'000 < options_.older_than_s) {
      return "Synced at " + format_utc(verdict_.receipt.wall_ns) + ", which is not long enough ago";
    }
    return std::nullopt;
  }

  sys::FileSystem& fs_;
  const std::string directory_;
  const wire::RecordingPath& path_;
  const PruneOptions& options_;
  Verdict verdict_;
};

// Files only: nothing else was there when it was judged.
Status remove_directory_with_files(sys::FileSystem& fs, const std::string& directory) {
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  for (const sys::DirectoryEntry& entry : entries) MC_TRY(fs.remove(sys::join_path(directory, entry.name)));
  return fs.remove_directory(directory);
}

class Pruner {
 public:
  Pruner(sys::FileSystem& fs, const std::string& root, const PruneOptions& options, const Log& log,
         const std::function<Status(const PruneOutcome&)>& tell)
      : fs_(fs), root_(root), options_(options), log_(log), tell_(tell) {}

  Status run() {
    MC_TRY(for_each_directory(root_, wire::is_name, [&](const std::string& session) {
      const std::string in_session = sys::join_path(root_, session);
      return for_each_directory(in_session, wire::is_take, [&](const std::string& take) {
        return prune_take(session, take, sys::join_path(in_session, take));
      });
    }));
    if (first_error_) return fail(*first_error_);
    return {};
  }

 private:
  template <class IsOne, class Visit>
  Status for_each_directory(const std::string& directory, IsOne is_one, Visit visit) {
    const auto entries = fs_.list(directory);
    if (!entries && entries.error().kind != ErrorKind::not_found) note_error(entries.error());
    if (!entries) return {};
    for (const sys::DirectoryEntry& entry : *entries) {
      if (entry.type == sys::FileType::directory && is_one(entry.name)) MC_TRY(visit(entry.name));
    }
    return {};
  }

  Status prune_take(const std::string& session, const std::string& take, const std::string& directory) {
    if (options_.control_log != nullptr) {
      if (const Status status = clear_up(directory); !status) note_error(status.error());
    }
    bool removed = false;
    MC_TRY(for_each_directory(directory, wire::is_name, [&](const std::string& guest) -> Status {
      PruneOutcome outcome;
      outcome.path = {session, take, guest};
      if (const Status status = prune(directory, outcome); !status) {
        if (status.error().kind != ErrorKind::not_found) note_error(status.error());  // else it went by itself
        outcome.kept_because = status.error().message;
      }
      removed = removed || (outcome.kept_because.empty() && options_.control_log != nullptr);
      return tell_(outcome);
    }));
    // Empty now, or not: then it stays.
    if (removed && fs_.remove_directory(directory)) (void)fs_.remove_directory(sys::parent_path(directory));
    return {};
  }

  // What a run that was killed left behind.
  Status clear_up(const std::string& take) {
    MC_TRY_ASSIGN(const auto entries, fs_.list(take));
    for (const sys::DirectoryEntry& entry : entries) {
      const std::string path = sys::join_path(take, entry.name);
      if (entry.type != sys::FileType::directory) continue;
      if (entry.name.starts_with(kUnloggedPrefix)) {
        MC_TRY(finish_unlogged(take, path));
        log_(LogLevel::info, "'" + path + "' of an earlier run removed");
      } else if (entry.name.starts_with(kPrunedPrefix)) {
        MC_TRY(remove_directory_with_files(fs_, path));
        log_(LogLevel::info, "'" + path + "' of an earlier run removed");
      } else if (entry.name.starts_with(kPruningPrefix)) {
        MC_TRY(put_back(path, sys::join_path(take, entry.name.substr(sizeof kPruningPrefix - 1))));
        log_(LogLevel::info, "'" + path + "' of an earlier run put back");
      }
    }
    return {};
  }

  Status put_back(const std::string& hidden, const std::string& directory) {
    Status status = fs_.rename_new(hidden, directory);
    if (status) return fs_.sync_directory(sys::parent_path(directory));
    if (status.error().sys_errno != EEXIST) return status;
    return fail(ErrorKind::io, "'" + hidden + "' cannot be put back: '" + directory +
                                   "' has come meanwhile; nothing of either was removed");
  }

  Status prune(const std::string& take, PruneOutcome& outcome) {
    const std::string directory = sys::join_path(take, outcome.path.guest);
    MC_TRY_ASSIGN(Verdict verdict, Judge(fs_, directory, outcome.path, options_).judge());
    outcome.kept_because = std::move(verdict.kept_because);
    for (const Seen& seen : verdict.seen) {
      ++outcome.files;
      outcome.bytes += seen.size_bytes;
    }
    if (!outcome.kept_because.empty()) return {};
    outcome.receipt = std::move(verdict.receipt);
    if (options_.control_log == nullptr) return {};

    const std::string hidden = sys::join_path(take, kPruningPrefix + outcome.path.guest);
    const std::string doomed = sys::join_path(take, kPrunedPrefix + outcome.receipt.recording_id);
    MC_TRY(fs_.rename_new(directory, hidden));
    const auto again = look(fs_, hidden);
    if (!again || *again != verdict.seen) {
      MC_TRY(put_back(hidden, directory));
      outcome.kept_because = "it changed just now";
      return {};
    }
    Status decided = options_.control_log->add_durably("pruned", facts(outcome));
    if (!decided && is_full(decided.error())) return prune_on_a_full_store(take, hidden, outcome);
    if (decided) decided = fs_.rename_new(hidden, doomed);
    if (!decided) {
      MC_TRY(put_back(hidden, directory));
      return decided;
    }
    MC_TRY(fs_.sync_directory(take));
    MC_TRY(remove_directory_with_files(fs_, doomed));
    return fs_.sync_directory(take);
  }

  // There is no room for the line: the media goes first. What the line says stays until it is written.
  Status prune_on_a_full_store(const std::string& take, const std::string& hidden, const PruneOutcome& outcome) {
    const std::string unlogged = sys::join_path(take, kUnloggedPrefix + outcome.receipt.recording_id);
    if (Status renamed = fs_.rename_new(hidden, unlogged); !renamed) {
      MC_TRY(put_back(hidden, sys::join_path(take, outcome.path.guest)));
      return renamed;
    }
    MC_TRY(fs_.sync_directory(take));
    return log_and_remove(take, unlogged, outcome);
  }

  Status finish_unlogged(const std::string& take, const std::string& unlogged) {
    PruneOutcome outcome;
    MC_TRY_ASSIGN(const auto entries, fs_.list(unlogged));
    for (const sys::DirectoryEntry& entry : entries) {
      const auto parsed = wire::parse_file_name(entry.name);
      if (!parsed || parsed->kind != wire::FileKind::receipt) continue;
      MC_TRY_ASSIGN(const ByteBuffer text,
                    sys::read_file(fs_, sys::join_path(unlogged, entry.name), wire::kMaxReceiptBytes));
      const auto receipt = wire::parse_receipt(as_text(text));
      if (receipt && receipt->wall_ns > outcome.receipt.wall_ns) outcome.receipt = *receipt;
    }
    if (outcome.receipt.recording_id.empty()) {
      return fail(ErrorKind::damaged, "'" + unlogged + "' has no receipt any more; a person must look at it");
    }
    outcome.path = outcome.receipt.path;
    outcome.files = static_cast<std::uint32_t>(outcome.receipt.files);
    outcome.bytes = outcome.receipt.bytes;
    return log_and_remove(take, unlogged, outcome);
  }

  Status log_and_remove(const std::string& take, const std::string& unlogged, const PruneOutcome& outcome) {
    MC_TRY_ASSIGN(const auto entries, fs_.list(unlogged));
    for (const sys::DirectoryEntry& entry : entries) {
      const auto parsed = wire::parse_file_name(entry.name);
      const bool is_media = parsed && (parsed->kind == wire::FileKind::init || parsed->kind == wire::FileKind::chunk);
      if (is_media) MC_TRY(fs_.remove(sys::join_path(unlogged, entry.name)));
    }
    MC_TRY(options_.control_log->add_durably("pruned", facts(outcome)));
    const std::string doomed = sys::join_path(take, kPrunedPrefix + outcome.receipt.recording_id);
    MC_TRY(fs_.rename_new(unlogged, doomed));
    MC_TRY(fs_.sync_directory(take));
    MC_TRY(remove_directory_with_files(fs_, doomed));
    return fs_.sync_directory(take);
  }

  static json::object facts(const PruneOutcome& outcome) {
    return {{"path", outcome.path.text()},
            {"recording", outcome.receipt.recording_id},
            {"root", outcome.receipt.root},
            {"manifest", outcome.receipt.manifest_sha256},
            {"receipt_time", format_utc(outcome.receipt.wall_ns)},
            {"key", outcome.receipt.key_fingerprint},
            {"files", outcome.files},
            {"bytes", outcome.bytes}};
  }

  void note_error(const Error& error) {
    log_(LogLevel::warning, error.message);
    if (!first_error_) first_error_ = error;
  }

  sys::FileSystem& fs_;
  const std::string& root_;
  const PruneOptions& options_;
  const Log& log_;
  const std::function<Status(const PruneOutcome&)>& tell_;
  std::optional<Error> first_error_;
};

}  // namespace

Status prune_store(sys::FileSystem& fs, const std::string& root, const PruneOptions& options, const Log& log,
                   const std::function<Status(const PruneOutcome&)>& tell) {
  return Pruner(fs, root, options, log, tell).run();
}

}  // namespace mc::server
