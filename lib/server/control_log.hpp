// The log of control actions, apart from the access log: what was decided about recordings, for the person who asks a
// year later. JSON lines, appended to .audit.jsonl in the root of a file store (mc-serve(1), "The audit log").
//
//   MC_TRY_ASSIGN(auto log, ControlLog::open(fs, path, warn));
//   log->add("conflict", {{"path", …}, {"name", …}});       // any thread, never waits for the disk
//   MC_TRY(log->add_durably("removed", …));                   // returns when the line is on the disk
//
// Lines are written by a thread of its own: all that wait, then one fdatasync. A crash loses lines of the last moments
// and may tear the last one; the next writer begins on a new line. Several processes may append: O_APPEND.
//
// A log that cannot be written (a full disk) never fails a request: the lines are dropped and counted, it is said once,
// and the first line that can be written again is {"event":"lines-lost","lines":N}.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "base/json.hpp"
#include "base/log.hpp"
#include "sys/file_system.hpp"

namespace mc::server {

inline constexpr char kControlLogName[] = ".audit.jsonl";  // in the root of a file store

class ControlLog {
 public:
  static Result<std::unique_ptr<ControlLog>> open(sys::FileSystem& fs, std::string path, Log log);
  ControlLog(const ControlLog&) = delete;
  ControlLog& operator=(const ControlLog&) = delete;
  ~ControlLog();  // writes what waits

  void add(std::string_view event, json::object fields);
  // For what anybody can cause: at most ten lines a minute, the rest is counted into the next one ("more").
  void add_limited(std::string_view event, json::object fields);
  Status add_durably(std::string_view event, json::object fields);

  std::uint64_t lines_lost() const;

 private:
  ControlLog(sys::FileSystem& fs, std::string path, Log log);
  void enqueue(std::string line);
  void work();
  Status append(const std::string& lines);
  Status write(const std::string& lines);

  sys::FileSystem& fs_;
  const std::string path_;
  Log log_;

  std::mutex file_mutex_;            // one writer at a time
  std::unique_ptr<sys::File> file_;  // under file_mutex_; empty: to be opened (again)

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  bool stopping_ = false;
  std::uint64_t lost_ = 0;         // in all
  std::uint64_t lost_untold_ = 0;  // since the last line that could be written
  std::chrono::steady_clock::time_point minute_{};
  std::uint64_t in_minute_ = 0, held_back_ = 0;
  std::thread worker_;
};

}  // namespace mc::server
