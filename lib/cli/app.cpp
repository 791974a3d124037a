#include "cli/app.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

#include "base/clock.hpp"
#include "cli/version.hpp"
#include "sys/fd.hpp"

namespace mc::cli {
namespace {

void say(std::string_view text) { (void)sys::write_all(STDERR_FILENO, as_bytes(text), "stderr"); }

// A descriptor that the caller closed would be given to the next file that we open, and our messages or data would
// land in it. The stand-ins cannot be used in the missing direction: reading and writing them fails, as it should.
void hold_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    (void)::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

int report(const std::string& tool, const Error& error) {
  std::string text = fmt::format("{}: error: {}\n", tool, one_line(error.message));
  if (!error.hint.empty()) text += fmt::format("hint: {}\n", one_line(error.hint));
  say(text);
  return exit_code(error.kind);
}

}  // namespace

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return 64;
    case ErrorKind::damaged: return 65;
    case ErrorKind::not_found: return 66;
    case ErrorKind::refused: return 69;
    case ErrorKind::bug: return 70;
    case ErrorKind::no_space: return 73;
    case ErrorKind::io: return 74;
    case ErrorKind::unavailable: return 75;
    case ErrorKind::protocol: return 76;
    case ErrorKind::permission: return 77;
    case ErrorKind::config: return 78;
  }
  return 70;
}

Invocation::Invocation(std::string tool, const std::string& description, int argc, char** argv, sys::StopSignals stops)
    : app(description, tool), stop(std::move(stops)), tool_(std::move(tool)), argc_(argc), argv_(argv) {
  app.set_version_flag("--version", tool_ + " " + kVersion);
  app.add_flag("--json", json_, "JSON on stdout for programs");
  app.add_flag("-q,--quiet", quiet_, "errors only on stderr");
  app.add_flag("-v,--verbose", verbose_, "say more on stderr");
  app.add_option("--progress", progress_, "progress on stderr (auto: on a terminal)")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, ProgressMode>{
              {"auto", ProgressMode::automatic}, {"always", ProgressMode::always}, {"never", ProgressMode::never}},
          CLI::ignore_case))
      ->option_text("auto|always|never");
  app.fallthrough();
}

void Invocation::add_notify_fd() {
  app.add_option("--notify-fd", notify_fd_, "write a line to this descriptor when ready")->check(CLI::Range(0, 1023));
}

void Invocation::add_connection_options(ConnectionOptions& options) {
  app.add_option("--cacert", options.ca_file, "file with the certificates to trust, instead of the system's");
  app.add_option("--token-file", options.token_file, "file with the token for the server; it may change at any time");
}

void Invocation::parse() { app.parse(argc_, argv_); }

bool Invocation::shows_progress() const {
  if (progress_ == ProgressMode::automatic) return !json_ && !quiet_ && ::isatty(STDERR_FILENO) == 1;
  return progress_ == ProgressMode::always;
}

Log Invocation::log() const {
  return [tool = tool_, quiet = quiet_, verbose = verbose_](LogLevel level, std::string_view text) {
    const char* word = "";
    switch (level) {
      case LogLevel::debug:
        if (!verbose) return;
        break;
      case LogLevel::info: break;
      case LogLevel::warning: word = "warning: "; break;
      case LogLevel::error: word = "error: "; break;
    }
    if (quiet && level != LogLevel::error) return;
    say(fmt::format("{}: {}{}\n", tool, word, one_line(std::string(text))));
  };
}

Status Invocation::print(std::string_view text) const {
  return sys::write_all(STDOUT_FILENO, as_bytes(text), "stdout");
}

Status Invocation::event(std::string_view name, json::object fields) const {
  if (!json_) return {};
  json::object line;
  line["event"] = std::string(name);
  line["time"] = format_utc(system_clock().wall_ns());
  for (auto& [key, value] : fields) line[key] = std::move(value);
  return print(json::to_text(line) + "\n");
}

Status Invocation::check_binary_stdout(bool forced) const {
  if (forced || ::isatty(STDOUT_FILENO) != 1) return {};
  return fail(Error{ErrorKind::usage, "will not write binary data to a terminal", 0, "redirect or pipe the output"});
}

int run_main(const char* tool, const char* description, int argc, char** argv, Run run) {
  hold_standard_descriptors();
  try {
    auto stop = sys::StopSignals::install();
    if (!stop) return report(tool, stop.error());
    Invocation in(tool, description, argc, argv, std::move(*stop));
    try {
      Result<int> result = run(in);
      return result ? *result : report(tool, result.error());
    } catch (const CLI::CallForHelp&) {
      const auto printed = in.print(in.app.help());
      return printed ? 0 : report(tool, printed.error());
    } catch (const CLI::CallForAllHelp&) {
      const auto printed = in.print(in.app.help("", CLI::AppFormatMode::All));
      return printed ? 0 : report(tool, printed.error());
    } catch (const CLI::CallForVersion&) {
      const auto printed = in.print(std::string(tool) + " " + kVersion + "\n");
      return printed ? 0 : report(tool, printed.error());
    } catch (const CLI::ParseError& e) {
      return report(tool,
                    Error{ErrorKind::usage, e.what(), 0, std::string("see '") + tool + " --help' or man " + tool});
    }
  } catch (const std::bad_alloc&) {
    return report(tool, Error{ErrorKind::unavailable, "out of memory", ENOMEM, {}});
  } catch (const std::exception& e) {
    return report(tool,
                  Error{ErrorKind::bug, std::string("unexpected: ") + e.what(), 0, "this is a bug; please report it"});
  }
}

void Progress::show(std::string_view line) {
  if (!shown_) return;
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  say(fmt::format("\r\x1b[K{}", line));
}

void Progress::clear() {
  if (drawn_) say("\r\x1b[K");
  drawn_ = false;
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* next : {"kB", "MB", "GB", "TB"}) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return fmt::format("{:.1f} {}", value, unit);
}

std::string human_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace mc::cli
