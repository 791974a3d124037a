#include "mc-push/run.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "base/clock.hpp"
#include "cli/app.hpp"
#include "mc-push/report.hpp"
#include "spool/key_files.hpp"
#include "upload/uploader.hpp"

namespace mc::tool_push {
namespace {

struct Arguments {
  std::string directory;
  std::string url;
  bool follow = false;
  unsigned parallel = 4;
  double deadline_s = 0;
  std::vector<std::string> keys;
  cli::ConnectionOptions connection;
  std::uint64_t limit_rate = 0;
};

Result<upload::UploadOptions> make_options(const cli::Invocation& in, const Arguments& arguments) {
  upload::UploadOptions options;
  MC_TRY_ASSIGN(options.base_url, http::check_base_url(arguments.url));
  options.follow = arguments.follow ? upload::Follow::yes : upload::Follow::no;
  options.parallel = arguments.parallel;
  if (arguments.deadline_s > 0) {
    options.deadline_ns = system_clock().monotonic_ns() + static_cast<std::int64_t>(arguments.deadline_s * 1e9);
  }
  MC_TRY_ASSIGN(options.keys, spool::read_key_files(sys::real_file_system(), arguments.keys));
  options.client.ca_file = arguments.connection.ca_file;
  MC_TRY_ASSIGN(options.client.credential, http::find_credential(arguments.connection.token_file));
  if (arguments.limit_rate > 0) options.client.send_limit = std::make_shared<http::RateLimit>(arguments.limit_rate);
  options.client.user_agent = "mc-push";
  options.stop_fd = in.stop.stop_fd();
  return options;
}

}  // namespace

Result<int> run(cli::Invocation& in) {
  Arguments arguments;
  in.app.add_option("DIR", arguments.directory, "a recording, or a spool with recordings in it")->required();
  in.app.add_option("URL", arguments.url, "the server: http://host:port or https://host")->required();
  in.app.add_flag("-f,--follow", arguments.follow,
                  "wait for more: lines, recordings, DIR itself; a spool is followed until a signal");
  in.app.add_option("--parallel", arguments.parallel, "files on their way at the same time")->check(CLI::Range(1, 64));
  in.app.add_option("--deadline", arguments.deadline_s, "give up with exit 75 after this many seconds")
      ->check(CLI::PositiveNumber);
  in.app.add_option("--key", arguments.keys, "file with a public key whose receipts are believed; may be repeated")
      ->allow_extra_args(false);  // what follows its value is the next argument
  in.app.add_option("--limit-rate", arguments.limit_rate, "send at most so many bytes a second, in all; as 500k or 2M")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber)
      ->option_text("RATE");
  in.add_connection_options(arguments.connection);
  in.add_notify_fd();
  in.parse();

  MC_TRY_ASSIGN(const upload::UploadOptions options, make_options(in, arguments));
  Report report(in, arguments.directory);
  auto all = upload::upload(sys::real_file_system(), arguments.directory, options, report, in.log());
  report.clear();
  if (!all && all.error().sys_errno == EINTR && in.stop.signal_number() != 0) {
    sys::die_by_signal(in.stop.signal_number());
  }
  if (!all) return fail(std::move(all).error());
  if (all->first_error && all->recordings > 1) {
    return fail(
        Error{all->first_error->kind, fmt::format("{} of {} recordings failed", all->failed, all->recordings), 0, {}});
  }
  if (all->first_error) return fail(std::move(*all->first_error));
  MC_TRY(report.status());
  return all->still_open > 0 ? cli::kNegative : cli::kDone;
}

}  // namespace mc::tool_push
