#include "mc-spool/prune.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <optional>

#include "cli/app.hpp"
#include "spool/find_recordings.hpp"
#include "spool/key_files.hpp"
#include "spool/prune.hpp"
#include "spool/recovery.hpp"
#include "sys/lock.hpp"

namespace mc::tool_spool {
namespace {

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

struct Outcome {
  std::string word;    // removed, would-remove, kept
  std::string reason;  // kept: why; else the key
  std::uint64_t bytes = 0;
};

Result<Outcome> prune_one(sys::FileSystem& fs, const std::string& directory, const std::vector<digest::PublicKey>& keys,
                          bool dry_run) {
  // Nobody writes into it while it is judged and removed. Where there is no file to lock, nobody does; a dry run makes
  // none.
  const std::string lock_path = sys::join_path(directory, spool::kLockName);
  std::optional<sys::FileLock> held;
  if (!dry_run || fs.info(lock_path)) {
    auto lock = sys::FileLock::acquire(lock_path);
    if (!lock && lock.error().sys_errno == EWOULDBLOCK) return Outcome{"kept", "being recorded", 0};
    if (!lock) return fail(std::move(lock).error());
    held.emplace(std::move(*lock));
  }
  MC_TRY_ASSIGN(const spool::PruneVerdict verdict, spool::may_prune(fs, directory, keys));
  if (!verdict.removable) return Outcome{"kept", verdict.reason, verdict.bytes};
  if (dry_run) return Outcome{"would-remove", "receipt of key " + verdict.reason, verdict.bytes};
  MC_TRY(spool::prune_recording(fs, directory));
  return Outcome{"removed", "receipt of key " + verdict.reason, verdict.bytes};
}

}  // namespace

Result<int> prune(cli::Invocation& in, const PruneOptions& options) {
  auto& fs = sys::real_file_system();
  const std::string root = without_trailing_slashes(options.directory);
  MC_TRY_ASSIGN(const auto keys, spool::read_key_files(fs, options.keys));
  if (!options.dry_run) {
    MC_TRY_ASSIGN(const std::uint32_t leftovers, spool::remove_leftovers(fs, root));
    if (leftovers > 0) in.log()(LogLevel::info, fmt::format("{} half removed recordings are gone now", leftovers));
  }
  auto recordings = spool::find_recordings(fs, root);
  if (!recordings && recordings.error().kind == ErrorKind::not_found && fs.info(root)) recordings.emplace();
  if (!recordings) return fail(std::move(recordings).error());
  std::uint64_t freed = 0;
  std::size_t removed = 0;
  int code = cli::kDone;
  for (const std::string& directory : *recordings) {
    if (in.stop.signal_number() != 0) sys::die_by_signal(in.stop.signal_number());  // between two recordings
    const auto outcome = prune_one(fs, directory, keys, options.dry_run);
    if (!outcome) {
      in.log()(LogLevel::error, fmt::format("'{}': {}", directory, outcome.error().message));
      code = cli::kNegative;
      continue;
    }
    if (outcome->word != "kept") {
      freed += outcome->bytes;
      ++removed;
    }
    MC_TRY(in.event("recording", {{"directory", directory},
                                  {"outcome", outcome->word},
                                  {"reason", outcome->reason},
                                  {"bytes", outcome->bytes}}));
    if (!in.json()) {
      MC_TRY(in.print(fmt::format("{:<12} {:>10}  {}  {}\n", outcome->word, cli::human_bytes(outcome->bytes), directory,
                                  outcome->reason)));
    }
  }
  in.log()(LogLevel::info, fmt::format("{} {} of {} recordings, {}", options.dry_run ? "would remove" : "removed",
                                       removed, recordings->size(), cli::human_bytes(freed)));
  return code;
}

}  // namespace mc::tool_spool
