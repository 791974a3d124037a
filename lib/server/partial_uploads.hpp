// Uploads whose connection broke, kept so that they can go on where they stopped: resumable uploads as
// draft-ietf-httpbis-resumable-upload-10 has them, with the file's own URL as the upload resource (mc-protocol(7)).
//
// An upload is known by the path, the name, the recording and the SHA-256 of the whole file, so that a client finds it
// again without having been told anything. It is active while a connection feeds it, and parked when that connection
// broke. A parked one has been flushed: what its offset says is on the disk.
//
//   begin(key, this, interrupt)        PUT: from here on it is active
//   end(key, this)                     … and finished, or given up for good
//   park(key, this, stage)             … or its connection broke
//   offset(key)                        HEAD: how much of it is there
//   take(key, offset); begin(…)        PATCH: it goes on
//
// Nothing here outlives the process: stages that a server finds at its start are discarded. What is parked holds an
// open file and room in the store each, so there are limits to how many, how much and how long; the oldest goes first,
// and its client sends the file from the beginning. A thread of its own lets go of what is too old, so that an idle
// server keeps nothing; when the store is full, everything goes.
//
// Destroyed before the store, whose stages it holds. All functions may be called from any thread; offset() may wait
// for another connection to park, so never call it where parking is done.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "store/store.hpp"

namespace mc::server {

class PartialUploads {
 public:
  struct Limits {
    std::size_t most = 256;
    std::uint64_t most_bytes = std::uint64_t{4} << 30;
    std::chrono::milliseconds keep = std::chrono::minutes(15);
    std::chrono::milliseconds interrupt_wait = std::chrono::seconds(3);
  };
  using Key = std::tuple<std::string, std::string, std::string, std::string>;  // path, name, recording id, SHA-256
  using Interrupt = std::function<void()>;

  PartialUploads() : PartialUploads(Limits{}) {}
  explicit PartialUploads(Limits limits);
  PartialUploads(const PartialUploads&) = delete;
  PartialUploads& operator=(const PartialUploads&) = delete;
  ~PartialUploads();

  // `owner` feeds it from here on; what was parked under the key, and whoever else feeds it, is given up. `interrupt`
  // breaks the owner's connection, so that it parks; it may be called from any thread, also late, and must not call
  // back from within.
  void begin(const Key& key, const void* owner, Interrupt interrupt);
  // The stage of an owner that is no longer the key's is dropped.
  void park(const Key& key, const void* owner, std::unique_ptr<store::Staged> staged);
  // Nothing happens when it is parked, or another one's.
  void end(const Key& key, const void* owner);

  // How many bytes of it are on the disk. One that is active is interrupted first: whoever asks has lost that
  // connection, though the server may not have noticed yet. Nothing: none is parked.
  std::optional<std::uint64_t> offset(const Key& key);
  // The same, without interrupting anybody.
  std::optional<std::uint64_t> parked_bytes(const Key& key) const;
  // Takes it out if it is parked and has exactly `offset` bytes; else null, and nothing has changed.
  std::unique_ptr<store::Staged> take(const Key& key, std::uint64_t offset);
  // Lets go of all that are parked; those that are active go on.
  void drop_parked();
  struct Parked {
    std::size_t uploads = 0;
    std::uint64_t bytes = 0;
  };
  Parked parked() const;

 private:
  struct Entry {
    const void* owner = nullptr;  // of an active one
    Interrupt interrupt;
    std::unique_ptr<store::Staged> staged;  // of a parked one
    std::chrono::steady_clock::time_point parked_at{};
  };
  using Dropped = std::vector<std::unique_ptr<store::Staged>>;
  // What is too old or too much goes into `dropped`, whose owner lets go of it without the lock: removing a stage is
  // work.
  void enforce_limits(Dropped& dropped);
  void work();

  Limits limits_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Entry> entries_;
  std::condition_variable parked_;  // for the thread: one more is
  bool stopping_ = false;
  std::thread worker_;
};

}  // namespace mc::server
