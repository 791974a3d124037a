#include "mc-spool/run.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "base/clock.hpp"
#include "cli/app.hpp"
#include "mc-spool/control.hpp"
#include "mc-spool/prune.hpp"
#include "mc-spool/write.hpp"
#include "spool/publish.hpp"
#include "spool/recording.hpp"
#include "spool/recovery.hpp"
#include "sys/lock.hpp"

namespace mc::tool_spool {
namespace {

// The lock of an existing recording; a writer holds it as long as it runs.
Result<sys::FileLock> lock_recording(const std::string& directory) {
  auto& fs = sys::real_file_system();
  if (auto loaded = spool::load_manifest(fs, directory); !loaded) {
    const bool lost = loaded.error().kind == ErrorKind::not_found && spool::holds_frames(fs, directory).value_or(false);
    if (!lost) return fail(std::move(loaded).error());
  }
  auto lock = sys::FileLock::acquire(sys::join_path(directory, spool::kLockName));
  if (!lock && lock.error().sys_errno == EWOULDBLOCK) {
    return fail(Error{ErrorKind::unavailable, "'" + directory + "' is being recorded", EWOULDBLOCK,
                      "wait until the recording has ended"});
  }
  return lock;
}

Result<int> recover(cli::Invocation& in, const std::string& directory) {
  MC_TRY_ASSIGN(const auto lock, lock_recording(directory));
  MC_TRY_ASSIGN(const auto state, spool::recover_recording(sys::real_file_system(), directory, in.log()));
  MC_TRY(in.event("recovered", {{"directory", directory},
                                {"chunks", state.recovered_chunks},
                                {"frames", state.recovered_frames},
                                {"closed", state.closed}}));
  in.log()(LogLevel::info, fmt::format("'{}': {} chunks with {} frames recovered, {} chunks in all", directory,
                                       state.recovered_chunks, state.recovered_frames, state.next_chunk.value - 1));
  return cli::kDone;
}

Result<int> close(cli::Invocation& in, const std::string& directory) {
  auto& fs = sys::real_file_system();
  MC_TRY_ASSIGN(const auto lock, lock_recording(directory));
  MC_TRY_ASSIGN(const auto state, spool::recover_recording(fs, directory, in.log()));
  spool::DiskErrors errors(in.log());
  if (!state.closed) {
    spool::ManifestWriter manifest(fs, directory, errors);
    MC_TRY(manifest.begin());
    MC_TRY(spool::close_recording(manifest, state.next_chunk.value - 1, state.listed_files));
  }
  MC_TRY(in.event("closed", {{"directory", directory}, {"chunks", state.next_chunk.value - 1}}));
  in.log()(LogLevel::info, fmt::format("'{}' is closed with {} chunks", directory, state.next_chunk.value - 1));
  return cli::kDone;
}

Result<int> list(cli::Invocation& in, const std::string& directory) {
  MC_TRY_ASSIGN(const auto loaded, spool::load_manifest(sys::real_file_system(), directory));
  const wire::Manifest& m = loaded.manifest;
  if (in.json()) {
    MC_TRY(in.event("recording", {{"recording", m.recording_id},
                                  {"path", m.path ? m.path->text() : ""},
                                  {"t0", m.t0_wall_ns ? format_utc(*m.t0_wall_ns) : ""},
                                  {"chunks", m.chunk_count()},
                                  {"closed", m.end.has_value()},
                                  {"intact", m.damage.empty()}}));
  }
  for (const auto& file : m.files) {
    json::object fields{{"name", file.name}, {"bytes", file.bytes()}, {"sha256", file.sha256}};
    std::string text = fmt::format("{:<18} {:>10}", file.name, file.bytes());
    if (file.chunk) {
      fields["t_s"] = file.chunk->start.seconds();
      fields["dur_s"] = file.chunk->duration.seconds();
      fields["video"] = file.chunk->video;
      fields["audio"] = file.chunk->audio;
      fields["init"] = file.chunk->init.value;
      text += fmt::format("  t={:<10.3f} dur={:<6.3f} video={:<4} audio={:<4}", file.chunk->start.seconds(),
                          file.chunk->duration.seconds(), file.chunk->video, file.chunk->audio);
    }
    MC_TRY(in.event("file", std::move(fields)));
    if (!in.json()) MC_TRY(in.print(text + "\n"));
  }
  for (const auto& damage : m.damage) {
    in.log()(LogLevel::warning, fmt::format("manifest line {}: {}", damage.line, damage.what));
  }
  if (!m.damage.empty()) return cli::kNegative;
  return cli::kDone;
}

Result<int> mark(cli::Invocation& in, const std::string& directory, const std::string& text) {
  if (text.empty() || text.size() > kMaxMarkBytes) {
    return fail(ErrorKind::usage, fmt::format("a mark has 1 to {} bytes of text", kMaxMarkBytes));
  }
  MC_TRY(spool::load_manifest(sys::real_file_system(), directory));
  MC_TRY_ASSIGN(const json::object answer, ask_writer(directory, {{"command", "mark"}, {"text", text}}));
  const std::int64_t at_ns = json::get_int(answer, "t_ns").value_or(0);
  MC_TRY(in.event("marked", {{"directory", directory}, {"t_ns", at_ns}, {"text", text}}));
  in.log()(LogLevel::info, fmt::format("marked at {:.3f} s", static_cast<double>(at_ns) / 1e9));
  return cli::kDone;
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  WriteOptions options;
  PruneOptions prune_options;
  std::string mark_text;
  std::string directory;
  in.app.require_subcommand(1);
  auto* write_command = in.app.add_subcommand("write", "record fragmented MP4 from stdin into DIR");
  write_command->add_option("DIR", options.directory, "the recording's directory, made when absent")->required();
  write_command->add_option("--as", options.recording,
                            "SESSION/TAKE/GUEST of a new recording (default: the last three parts of DIR)");
  write_command->add_option("--events", options.events, "acknowledgements as JSON lines to a descriptor or unix:PATH");
  write_command->add_option("--reserve", options.reserve_bytes, "room to keep free: below it, stop cleanly (exit 73)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  write_command->add_option("--warn-below", options.warn_bytes, "warn when less room than this is left")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  const auto add = [&](const char* name, const char* description) {
    auto* command = in.app.add_subcommand(name, description);
    command->add_option("DIR", directory, "the recording's directory")->required();
    return command;
  };
  auto* close_command = add("close", "end the recording: its manifest gets its last line");
  auto* list_command = add("list", "print what the manifest lists");
  auto* recover_command = add("recover", "make whole what a crash left");
  auto* mark_command = add("mark", "set a mark (a chapter) at the current time of a running recording");
  mark_command->add_option("TEXT", mark_text, "what it says")->required();
  auto* prune_command = in.app.add_subcommand("prune", "remove recordings that a server has, by its receipt");
  prune_command->add_option("DIR", prune_options.directory, "a recording, or a spool with recordings in it")
      ->required();
  prune_command->add_option("--key", prune_options.keys, "file with a public key whose receipts count; may be repeated")
      ->allow_extra_args(false)
      ->required();
  prune_command->add_flag("-n,--dry-run", prune_options.dry_run, "only say what would be removed");
  in.add_notify_fd();
  in.parse();
  if (*write_command) return write(in, options);
  if (*close_command) return close(in, directory);
  if (*list_command) return list(in, directory);
  if (*recover_command) return recover(in, directory);
  if (*mark_command) return mark(in, directory, mark_text);
  if (*prune_command) return prune(in, prune_options);
  return fail(ErrorKind::bug, "no subcommand");
}

}  // namespace mc::tool_spool
