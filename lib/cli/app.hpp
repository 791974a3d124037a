// What every tool does the same: common options, exit codes, messages, stdout that is checked, progress, events.
//
//   int main(int argc, char** argv) { return mc::cli::run_main("mc-join", "join …", argc, argv, mc::tool_join::run); }
//
//   Result<int> run(cli::Invocation& in) {
//     std::string out;
//     in.app.add_option("-o,--output", out, "…")->required();
//     in.parse();                       // throws CLI::ParseError, which only run_main catches
//     …
//     return cli::kDone;                // or kNegative; an Error becomes its exit code, one line and its hint
//   }
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/json.hpp"
#include "base/log.hpp"
#include "cli/main.hpp"
#include "sys/signals.hpp"

namespace mc::cli {

inline constexpr int kDone = 0;      // all of it done and durable
inline constexpr int kNegative = 1;  // the honest negative answer: not equal, not synced, damaged
int exit_code(ErrorKind kind);       // sysexits(3) numbers; 75 is the only one that may be retried blindly

// Of the tools that talk to a server. What they mean is http's affair.
struct ConnectionOptions {
  std::string ca_file;
  std::string token_file;  // empty: the environment may name one (http::find_credential)
};

enum class ProgressMode : std::uint8_t { automatic, always, never };

class Invocation {
 public:
  Invocation(std::string tool, const std::string& description, int argc, char** argv, sys::StopSignals stop);

  CLI::App app;
  sys::StopSignals stop;

  // The common options (--json, --progress, --quiet, --verbose, --version, --help; see mc(7)) are there already.
  // --notify-fd is added by the tools that have something to be ready for: `add_notify_fd()`.
  void add_notify_fd();
  void add_connection_options(ConnectionOptions& options);
  void parse();

  const std::string& tool() const { return tool_; }
  bool json() const { return json_; }
  bool quiet() const { return quiet_; }
  int notify_fd() const { return notify_fd_; }
  bool shows_progress() const;  // as --progress says; automatic: stderr is a terminal, and neither --json nor --quiet
  // One line on stderr: "mc-push: warning: …". Info needs --verbose when it is `debug`; --quiet leaves errors only.
  Log log() const;

  // stdout, checked: an error here is an error of the tool. Text is written as it is; nothing is buffered.
  Status print(std::string_view text) const;
  // One JSON line on stdout with "event" and "time" (RFC 3339) first. Only sent with --json.
  Status event(std::string_view name, json::object fields) const;
  // Opens the descriptor for binary output: refuses a terminal (kind usage) unless `forced` ("-o -" was given).
  Status check_binary_stdout(bool forced) const;

 private:
  std::string tool_;
  int argc_;
  char** argv_;
  bool json_ = false;
  bool quiet_ = false;
  bool verbose_ = false;
  ProgressMode progress_ = ProgressMode::automatic;
  int notify_fd_ = -1;
};

// A line on stderr that is drawn again at most ten times a second, and wiped when the object dies.
class Progress {
 public:
  explicit Progress(const Invocation& in) : shown_(in.shows_progress()) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }
  void show(std::string_view line);  // cheap when nothing is shown
  void clear();

 private:
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

// For people: "12.3 MB", "4:05". Durations in seconds.
std::string human_bytes(std::uint64_t bytes);
std::string human_duration(double seconds);

}  // namespace mc::cli
