// Tells where in a spool something may have changed. A hint and no more: events can be lost (network file systems, the
// kernel's limits), so whoever waits on it also looks by himself from time to time.
#pragma once

#include <set>
#include <string>
#include <unordered_map>

#include "sys/fd.hpp"

namespace mc::upload {

class Watch {
 public:
  Watch();  // when the kernel has none to give, fd() is -1 and only the looking from time to time is left

  // Of directories and manifests that appear in `directory`. Again and again: no harm. Of a directory that is not
  // there: nothing.
  void add(const std::string& directory);
  // Of the manifest in it that grows. Not of the directory as a whole, for the writer of a recording touches other
  // files in it many times a second.
  void add_manifest(const std::string& directory);
  void drop_manifest(const std::string& directory);

  int fd() const { return fd_.get(); }  // readable when something happened
  struct Changes {
    bool new_directories = false;     // somewhere; also when the kernel lost count
    std::set<std::string> manifests;  // in these directories, as they were given
  };
  Changes take();  // what happened since the last call

 private:
  sys::Fd fd_;
  std::unordered_map<int, std::string> directories_;
  std::unordered_map<int, std::string> manifests_;
};

}  // namespace mc::upload
