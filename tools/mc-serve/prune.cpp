#include "mc-serve/prune.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "base/clock.hpp"
#include "mc-serve/token.hpp"
#include "server/key_file.hpp"
#include "server/prune.hpp"
#include "spool/key_files.hpp"
#include "store/file_store.hpp"
#include "store/open_store.hpp"
#include "sys/lock.hpp"

namespace mc::tool_serve {
namespace {

constexpr char kPruneLockName[] = ".prune.lock";

Status tell(cli::Invocation& in, const server::PruneOutcome& outcome, bool dry_run) {
  const bool goes = outcome.kept_because.empty();
  const char* done = dry_run ? "would-prune" : "pruned";
  if (in.json()) {
    json::object fields{{"path", outcome.path.text()}, {"files", outcome.files}, {"bytes", outcome.bytes}};
    if (goes) {
      fields["recording"] = outcome.receipt.recording_id;
      fields["receipt_time"] = format_utc(outcome.receipt.wall_ns);
    } else {
      fields["reason"] = outcome.kept_because;
    }
    return in.event(goes ? done : "kept", std::move(fields));
  }
  const std::string path = outcome.path.text();
  if (!goes) return in.print(fmt::format("{}: kept: {}\n", path, outcome.kept_because));
  return in.print(fmt::format("{}: {}, {} files, {}, Synced at {}\n", path, dry_run ? "would be removed" : "removed",
                              outcome.files, cli::human_bytes(outcome.bytes), format_utc(outcome.receipt.wall_ns)));
}

// What a server that died was receiving takes room, and keeps its recording. One that runs has the lock, and its
// stages.
void discard_stages(sys::FileSystem& fs, const std::string& root, const Log& log) {
  const auto store = store::FileStore::open(fs, root, log);
  if (!store && store.error().sys_errno != EWOULDBLOCK) log(LogLevel::warning, store.error().message);
}

}  // namespace

CLI::App* add_prune_command(cli::Invocation& in, PruneArguments& arguments) {
  auto* command = in.app.add_subcommand("prune", "remove recordings that have been Synced for long enough");
  command->add_option("--store", arguments.store, "the store: file:DIRECTORY")
      ->type_name("STORE")
      ->envname("MC_STORE")
      ->capture_default_str();
  command->add_option("--older-than", arguments.older_than, "how long ago the receipt must be: 30d, 12h, 90m, 45s")
      ->type_name("TIME")
      ->required();
  command->add_flag("--synced", arguments.synced, "what is Synced, and nothing else: must be given");
  command->add_option("--key", arguments.keys, "public key whose receipts count (default: the store's own)")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command->add_flag("--dry-run", arguments.dry_run, "only say what would be removed");
  return command;
}

Result<int> prune(cli::Invocation& in, const PruneArguments& arguments) {
  if (!arguments.synced) {
    return fail(Error{ErrorKind::usage, "prune removes only what is Synced", 0, "say so with --synced"});
  }
  server::PruneOptions options;
  MC_TRY_ASSIGN(options.older_than_s, parse_age(arguments.older_than));
  MC_TRY_ASSIGN(const std::string root, store::file_store_root(arguments.store));
  auto& fs = sys::real_file_system();
  MC_TRY(fs.list(root));  // nothing is made in a place that is no store
  std::vector<std::string> keys = arguments.keys;
  if (keys.empty()) keys.push_back(server::public_key_path(sys::join_path(root, server::kDefaultKeyName)));
  MC_TRY_ASSIGN(options.keys, spool::read_key_files(fs, keys));
  options.now_ns = system_clock().wall_ns();

  const Log log = in.log();
  std::optional<sys::FileLock> lock;
  std::unique_ptr<server::ControlLog> control_log;
  if (!arguments.dry_run) {
    auto taken = sys::FileLock::acquire(sys::join_path(root, kPruneLockName));
    if (!taken && taken.error().sys_errno == EWOULDBLOCK) {
      return fail(ErrorKind::unavailable, "another mc-serve prune works on '" + root + "'", EWOULDBLOCK);
    }
    if (!taken) return fail(std::move(taken).error());
    lock.emplace(std::move(*taken));
    MC_TRY_ASSIGN(control_log, server::ControlLog::open(fs, sys::join_path(root, server::kControlLogName), log));
    options.control_log = control_log.get();
  }
  if (!arguments.dry_run) discard_stages(fs, root, log);
  const auto tell_each = [&](const server::PruneOutcome& outcome) {
    Status told = tell(in, outcome, arguments.dry_run);
    if (in.stop.signal_number() != 0) sys::die_by_signal(in.stop.signal_number());  // between two recordings
    return told;
  };
  MC_TRY(server::prune_store(fs, root, options, log, tell_each));
  return cli::kDone;
}

}  // namespace mc::tool_serve
