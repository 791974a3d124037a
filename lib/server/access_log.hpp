// One JSON line for each request, written by a thread of its own: a reader that stops reading never stops a request.
// When ten thousand lines wait, further ones are dropped and counted.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.hpp"

namespace mc::server {

struct AccessRecord {
  std::string remote;
  std::string method;
  std::string target;                                // as it came
  int status = 0;                                    // 0: the connection ended before there was an answer
  std::uint64_t received_bytes = 0, sent_bytes = 0;  // bodies
  std::int64_t duration_us = 0;                      // from the header's end to the answer's end
};
// Bytes that are not UTF-8 become '?'.
std::string printable_target(std::string target);
// {"event":"request","time":…,…} without the newline.
std::string format_access_line(const AccessRecord& record, std::int64_t wall_ns);

class AccessLog {
 public:
  using Sink = std::function<Status(const std::string& line)>;  // with its newline; called from one thread

  explicit AccessLog(Sink sink);
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;
  ~AccessLog() { finish(); }

  void add(const AccessRecord& record);  // any thread; never blocks on the sink
  // Writes what waits and ends the thread. The first error of the sink, or io when lines were dropped.
  Status finish();

 private:
  void work();

  Sink sink_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  bool stopping_ = false;
  std::uint64_t dropped_ = 0;
  Status status_;
  std::thread worker_;
};

}  // namespace mc::server
