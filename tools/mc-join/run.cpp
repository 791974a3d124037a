#include "mc-join/run.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <optional>

#include "cli/app.hpp"
#include "join/copy.hpp"
#include "join/download.hpp"
#include "join/output.hpp"
#include "join/plan.hpp"
#include "spool/recording.hpp"
#include "wire/names.hpp"

namespace mc::tool_join {
namespace {

struct Options {
  std::string recording;
  std::string output = "-";
  cli::ConnectionOptions connection;
  bool no_verify = false;
  bool sound_only = false;
};

// A file of the recording would lose its name to the joined one.
Status check_output(const std::string& directory, const std::string& output) {
  const auto slash = output.rfind('/');
  const std::string name = slash == std::string::npos ? output : output.substr(slash + 1);
  if (!wire::parse_file_name(name)) return {};
  auto& fs = sys::real_file_system();
  const auto here = fs.info(sys::join_path(directory, "."));
  const auto there = fs.info(sys::join_path(sys::parent_path(output), "."));
  if (!here || !there || here->inode != there->inode) return {};
  return fail(Error{ErrorKind::usage, "'" + output + "' is the name of a file of the recording", 0,
                    "choose another name for the joined file"});
}

void let_signals_kill() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

Result<int> join_directory(cli::Invocation& in, const Options& options, const std::string& directory) {
  const bool to_stdout = options.output == "-";
  if (!to_stdout) MC_TRY(check_output(directory, options.output));
  auto& fs = sys::real_file_system();
  MC_TRY_ASSIGN(const auto loaded, spool::load_manifest(fs, directory));
  const auto tracks = options.sound_only ? join::Tracks::sound : join::Tracks::all;
  MC_TRY_ASSIGN(const join::Plan plan, join::make_plan(loaded, join::directory_reader(fs, directory), tracks));
  if (!plan.closed) {
    in.log()(LogLevel::warning, fmt::format("'{}' is an open recording: joining the {} chunks that it has so far",
                                            options.recording, plan.files.size()));
  }

  MC_TRY_ASSIGN(join::Output output, join::Output::open(options.output));
  // A pipe that nobody reads holds a write for ever. There is nothing to take back then: the signal may kill.
  if (!output.is_staged() && !join::is_url(options.recording)) let_signals_kill();
  if (plan.chapters_left > 0) {
    in.log()(LogLevel::warning,
             fmt::format("there is room for {} chapters: {} marks are left out", plan.chapters, plan.chapters_left));
  }
  MC_TRY(output.reserve(plan.size_bytes));
  {
    cli::Progress line(in);
    join::CopyOptions copy;
    copy.verify = options.no_verify ? join::Verify::nothing : join::Verify::hashes;
    copy.placement = output.is_staged() ? join::Placement::anywhere : join::Placement::in_order;
    copy.stop_fd = in.stop.stop_fd();
    copy.progress = [&](std::uint64_t done, std::uint64_t total) {
      line.show(fmt::format("joining {} of {}", cli::human_bytes(done), cli::human_bytes(total)));
    };
    MC_TRY(join::copy_plan(plan, directory, output.fd(), output.name(), copy));
  }
  MC_TRY(output.commit());

  MC_TRY(in.event("joined", {{"output", options.output},
                             {"bytes", plan.size_bytes},
                             {"chunks", plan.files.size()},
                             {"video_frames", plan.video_frames},
                             {"audio_frames", plan.audio_frames},
                             {"duration_s", plan.duration_s},
                             {"chapters", plan.chapters},
                             {"closed", plan.closed},
                             {"verified", !options.no_verify}}));
  in.log()(LogLevel::info,
           fmt::format("{}: {} chunks, {}, {} pictures, {} sound frames, {}{}", output.name(), plan.files.size(),
                       cli::human_duration(plan.duration_s), plan.video_frames, plan.audio_frames,
                       cli::human_bytes(plan.size_bytes), options.no_verify ? ", not verified" : ", verified"));
  return cli::kDone;
}

Result<int> join_anywhere(cli::Invocation& in, const Options& options) {
  if (!join::is_url(options.recording)) return join_directory(in, options, options.recording);
  cli::Progress line(in);
  join::DownloadOptions download;
  if (options.output != "-") download.beside = options.output;
  download.http.ca_file = options.connection.ca_file;
  MC_TRY_ASSIGN(download.http.credential, http::find_credential(options.connection.token_file));
  download.http.stop_fd = in.stop.stop_fd();
  download.progress = [&](std::uint64_t done, std::uint64_t total) {
    line.show(fmt::format("fetching {} of {}", cli::human_bytes(done), cli::human_bytes(total)));
  };
  MC_TRY_ASSIGN(const join::Download copy, join::Download::fetch(options.recording, download));
  line.clear();
  return join_directory(in, options, copy.directory());
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Options options;
  in.app.add_option("RECORDING", options.recording, "a recording's directory, or its URL on a server")->required();
  const auto* output = in.app.add_option("-o,--output", options.output,
                                         "the file to make; '-' is stdout (default: stdout, unless a terminal)");
  in.app.add_flag("--no-verify", options.no_verify, "do not compare the chunks with the manifest's hashes");
  in.app.add_flag("--sound-only", options.sound_only, "the sound alone, without the picture");
  in.add_connection_options(options.connection);
  in.parse();

  if (options.output == "-") {
    if (in.json()) return fail(ErrorKind::usage, "--json and the joined file cannot both have stdout");
    MC_TRY(in.check_binary_stdout(output->count() > 0));
  }
  auto result = join_anywhere(in, options);
  // Everything that was staged is gone by now; the caller's shell learns how we ended.
  if (!result && result.error().sys_errno == EINTR && in.stop.signal_number() != 0) {
    sys::die_by_signal(in.stop.signal_number());
  }
  return result;
}

}  // namespace mc::tool_join
