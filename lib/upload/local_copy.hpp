// What is wrong with the files on this disk, once the server is known to hold them right: told to the observer one by
// one, and in one line to the log. Which are left to be read it knows; reading them is a job as any other. One thread.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>

#include "base/log.hpp"
#include "sys/file_system.hpp"
#include "upload/observer.hpp"
#include "wire/manifest.hpp"

namespace mc::upload {

class LocalCopy {
 public:
  LocalCopy(Observer& observer, Log log) : observer_(observer), log_(std::move(log)) {}

  void look_at_sizes(sys::FileSystem& fs, const Which& which, const wire::Manifest& manifest);
  void read_later(std::size_t index) { unread_.push_back(index); }
  std::optional<std::size_t> next_unread();
  bool has_unread() const { return !unread_.empty(); }

  void note_damaged(const Which& which, const std::string& name, const std::string& reason);
  void say() const;

 private:
  Observer& observer_;
  Log log_;
  std::deque<std::size_t> unread_;
  std::size_t damaged_ = 0;
  std::string first_reason_;
};

}  // namespace mc::upload
