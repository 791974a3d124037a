#include "mc-guest/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "cli/app.hpp"
#include "rig/agent.hpp"
#include "rig/supervisor.hpp"
#include "sys/service_manager.hpp"

namespace mc::tool_guest {
namespace {

// What is handed on to mc-capture as it is.
struct CaptureOption {
  const char* name;
  const char* description;
  std::string value = {};
};
struct Arguments {
  std::string url, spool, limit_rate;
  std::vector<CaptureOption> capture{{"--video", "v4l2:DEVICE, x11:DISPLAY, lavfi:GRAPH or file:PATH"},
                                     {"--audio", "alsa:DEVICE, pulse:SOURCE, lavfi:GRAPH or file:PATH"},
                                     {"--size", "picture size asked of the device, WIDTHxHEIGHT"},
                                     {"--rate", "pictures per second asked of the device"},
                                     {"--video-codec", "video encoder of libavcodec"},
                                     {"--audio-codec", "audio encoder of libavcodec"},
                                     {"--video-bitrate", "bits per second, as in 8M"},
                                     {"--audio-bitrate", "bits per second, as in 192k"},
                                     {"--preset", "preset of the video encoder"}};
  cli::ConnectionOptions connection;
};

std::string default_spool() {
  const char* state = std::getenv("STATE_DIRECTORY");
  return state != nullptr && *state != '\0' ? state : "maycast";
}

class Report {
 public:
  explicit Report(cli::Invocation& in) : in_(in), line_(in) {}

  void joined() { keep(in_.event("joined", {})); }
  void ready() { keep(sys::notify_ready(in_.notify_fd(), "standby")); }
  void status(const wire::Telemetry& now, bool online) {
    if (now.state != state_ || now.take != take_) {
      state_ = now.state;
      take_ = now.take;
      json::object event{{"state", state_}};
      if (!take_.empty()) event["take"] = take_;
      keep(in_.event("state", std::move(event)));
      if (!in_.shows_progress()) in_.log()(LogLevel::info, take_.empty() ? state_ : state_ + ", take " + take_);
    }
    for (const std::string& alarm : now.alarms) {
      if (std::find(alarms_.begin(), alarms_.end(), alarm) == alarms_.end()) {
        keep(in_.event("alarm", {{"reason", alarm}}));
        in_.log()(LogLevel::warning, alarm);
      }
    }
    alarms_ = now.alarms;
    std::string text = state_;
    if (!take_.empty()) {
      text += fmt::format("  take {}  {}  {}/{} chunks", take_,
                          cli::human_duration(static_cast<double>(now.recorded_ms.value_or(0)) / 1000),
                          now.chunks_uploaded.value_or(0), now.chunks_durable.value_or(0));
    }
    line_.show(text + (online ? "" : "  (offline)"));
  }
  void clear() { line_.clear(); }
  Status result() const { return result_; }

 private:
  void keep(Status status) {
    if (result_ && !status) result_ = std::move(status);
  }
  cli::Invocation& in_;
  cli::Progress line_;
  std::string state_, take_;
  std::vector<std::string> alarms_;
  Status result_;
};

Result<int> run_guest(cli::Invocation& in, const Arguments& arguments) {
  rig::AgentOptions options;
  MC_TRY_ASSIGN(options.url, wire::parse_join_url(arguments.url));
  for (const CaptureOption& option : arguments.capture) {
    if (!option.value.empty()) options.capture.insert(options.capture.end(), {option.name, option.value});
  }
  if (arguments.capture[0].value.empty() && arguments.capture[1].value.empty()) {
    return fail(Error{ErrorKind::usage, "nothing to record", 0, "give --video, --audio or both"});
  }
  // The supervisors have no working directory to rely on, and outlive ours.
  options.spool = sys::absolute_path(arguments.spool);
  options.token_file = arguments.connection.token_file;
  options.ca_file = arguments.connection.ca_file;
  for (std::string* path : {&options.token_file, &options.ca_file}) {
    if (!path->empty()) *path = sys::absolute_path(*path);
  }
  options.limit_rate = arguments.limit_rate;
  options.agent = in.app.version();
  options.stop_fd = in.stop.stop_fd();
  options.log = in.log();
  in.stop.tell_each();

  Report report(in);
  rig::AgentHooks hooks;
  hooks.joined = [&] { report.joined(); };
  hooks.ready = [&] { report.ready(); };
  hooks.status = [&](const wire::Telemetry& now, bool online) { report.status(now, online); };
  const Status ended = rig::run_agent(sys::real_file_system(), options, hooks);
  report.clear();
  MC_TRY(ended);
  MC_TRY(report.result());
  return cli::kDone;
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Arguments arguments;
  arguments.spool = default_spool();
  in.app.add_option("JOIN-URL", arguments.url, "https://host/join/SESSION/GUEST#code=..., as mc-direct printed it");
  in.app.add_option("--spool", arguments.spool, "where recordings are kept")->capture_default_str();
  for (CaptureOption& option : arguments.capture) in.app.add_option(option.name, option.value, option.description);
  in.app.add_option("--limit-rate", arguments.limit_rate, "upload at most so many bytes a second; as 500k or 2M")
      ->option_text("RATE");
  in.add_connection_options(arguments.connection);
  in.add_notify_fd();
  std::string directory;
  CLI::App* supervise = in.app.add_subcommand("supervise", "obey the orders in DIR; started by the agent");
  supervise->add_option("DIR", directory, "a supervisor's directory")->required();
  in.parse();

  if (supervise->parsed()) {
    MC_TRY(rig::supervise(sys::real_file_system(),
                          {.directory = directory, .stop_fd = in.stop.stop_fd(), .log = in.log()}));
    return cli::kDone;
  }
  if (arguments.url.empty()) {
    return fail(Error{ErrorKind::usage, "no join URL", 0, "mc-direct new and mc-direct invite print one"});
  }
  return run_guest(in, arguments);
}

}  // namespace mc::tool_guest
