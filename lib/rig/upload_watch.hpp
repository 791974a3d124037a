// The upload of one recording: runs `mc-push --follow`, again when it ends before the receipt is there, and reads what
// it says from the file that it says it to. A file and no pipe: a supervisor that dies takes nothing with it, and the
// next one reads the same.
//
// One thread.
#pragma once

#include <poll.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "rig/order.hpp"
#include "sys/process.hpp"

namespace mc::rig {

class UploadWatch {
 public:
  // `directory` is the supervisor's; `log_fd` is borrowed.
  UploadWatch(std::string directory, int log_fd, Log log)
      : path_(sys::join_path(std::move(directory), kPushLogName)), log_fd_(log_fd), log_(std::move(log)) {}

  void look(const Order& order);  // starts it when it is due
  void add_to(std::vector<pollfd>& wanted) const;
  void end();  // kills it: what it does can be done again

  bool is_synced() const { return synced_; }  // it ended with 0
  std::int64_t chunks() const { return static_cast<std::int64_t>(chunks_.size()); }
  const std::string& trouble() const { return trouble_; }  // for people; empty: none
  std::optional<int> pid() const { return push_ ? std::optional(push_->pid()) : std::nullopt; }

 private:
  Status start(const Order& order);
  void read();
  void hear(const json::object& event);

  std::string path_;
  int log_fd_;
  Log log_;
  std::optional<sys::Process> push_;
  std::int64_t start_at_ns_ = 0;
  std::uint64_t read_bytes_ = 0;
  std::string pending_;
  std::set<std::string> chunks_;  // that the server holds
  std::string trouble_;
  bool synced_ = false;
};

}  // namespace mc::rig
