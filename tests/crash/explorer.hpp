// Builds the states that crashes may leave of a recording, recovers each, and asks the oracle:
//
//   every frame that was acknowledged before the crash is in the recovered recording, with the right bytes
//   no other bytes: what is there beyond that is a whole frame of the input
//   the manifest is undamaged, and verify finds nothing
//   a second recovery changes nothing
//   recovery killed behind each of its own operations, and run again, ends the same; so it does when the power fails
//   with recovery, or right after it
//   the recording can be gone on with, and closed
//
// Two states are distinct when their trees (names and bytes) are. One thread.
#pragma once

#include <array>
#include <map>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "crash/recordings.hpp"

namespace mc::crash {

enum class CrashClass : std::uint8_t {
  prefix,
  data_dropped,
  torn,
  zeros,
  name_lost,
  rename_lost,
  recovery_killed,
};
inline constexpr std::size_t kCrashClasses = 7;
const char* name(CrashClass kind);

struct ExplorerOptions {
  std::size_t states = 3000;           // distinct ones, all classes together
  std::size_t per_class = 0;           // and at least so many of each
  std::size_t most_of_one = SIZE_MAX;  // of a class that has so many no more are tried, to get to the rarer ones
  std::size_t max_findings = 3;
  Wrap recovery_wrap;  // what recovery runs on: the identity, or a mutant
};

class Explorer {
 public:
  explicit Explorer(ExplorerOptions options) : options_(std::move(options)) {}

  // Tries the states of one log until there are enough of all or it has no more to give.
  void explore(const Recorded& recorded, const OpLog& log, std::uint32_t seed);
  bool enough() const;

  const std::vector<std::string>& findings() const { return findings_; }
  std::size_t count(CrashClass kind) const { return counts_[static_cast<std::size_t>(kind)]; }
  std::size_t distinct() const { return seen_.size(); }
  std::size_t checked() const { return checked_; }  // with different acknowledgements the same tree counts again
  std::string table() const;

 private:
  struct Case {
    const Recorded& recorded;
    const OpLog& log;
    const Choice& choice;
    CrashClass kind;
  };
  bool has_most(CrashClass kind) const { return count(kind) >= options_.most_of_one; }
  bool stop() const { return findings_.size() >= options_.max_findings || enough(); }
  void try_state(const Recorded& recorded, const OpLog& log, const Choice& choice);
  void mix(const Recorded& recorded, const OpLog& log, std::size_t length, const std::vector<std::size_t>& free,
           std::mt19937& random);
  void complain(const Case& c, const std::string& what);
  bool recover(SimFileSystem& fs);
  void check(const Case& c, SimFileSystem& left, std::size_t acknowledged);
  void kill_recovery(const Case& c, std::uint64_t wanted);
  void go_on(const Case& c, SimFileSystem left);

  ExplorerOptions options_;
  std::unordered_set<std::uint64_t> seen_;
  std::unordered_set<std::uint64_t> tried_;  // tree and acknowledgements
  std::array<std::size_t, kCrashClasses> counts_{};
  std::size_t checked_ = 0;
  std::vector<std::string> findings_;
  std::string last_error_;
};

}  // namespace mc::crash
