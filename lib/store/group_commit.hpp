// Group commit of names: one fsync of a directory answers for every name that was made in it before that fsync began.
//
//   rename(stage, name);            // by any number of threads at once
//   MC_TRY(commits.commit(dir));    // returns when the name is durable
//   … only now: 201 …
//
// A caller that finds no fsync of its directory under way does one. A caller that finds one under way must not be
// answered by it, for its own name may have come after that fsync began: it waits for the next one, which the first of
// those who wait does for all of them. So under load each directory has one fsync after the other, each for all the
// names that came during the one before, and nobody waits for more than two.
//
// Only directories are synced here, never a file system: a stranger's dirty pages are none of our business. An error
// is given to everybody whom that fsync was to answer for; those who come later get an fsync of their own.
//
// Any thread. Blocks on the medium.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "sys/file_system.hpp"

namespace mc::store {

class GroupCommit {
 public:
  explicit GroupCommit(sys::FileSystem& fs) : fs_(fs) {}

  // Returns after an fsync of `directory` that began after this call did.
  Status commit(const std::string& directory);

  struct Counts {
    std::uint64_t asked = 0;   // calls of commit
    std::uint64_t synced = 0;  // fsyncs that were done for them
  };
  Counts counts() const;

 private:
  struct Round {  // one fsync, from the moment somebody waits for it
    bool done = false;
    Status result;
  };
  struct Queue {
    std::shared_ptr<Round> next;  // not begun
    bool running = false;         // another one is
    std::size_t inside = 0;       // callers; the last one removes the queue
    std::condition_variable changed;
  };

  sys::FileSystem& fs_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Queue> queues_;
  Counts counts_;
};

}  // namespace mc::store
