// Uploads whose connection broke, kept so that they can go on where they stopped: resumable uploads as
// draft-ietf-httpbis-resumable-upload-10 has them, with the file's own URL as the upload resource (mc-protocol(7)).
//
// An upload is known by the path, the name, the recording and the SHA-256 of the whole file, so that a client finds it
// again without having been told anything. An upload is active while a connection feeds it, and parked when that
// connection broke. A parked one has been flushed: what its offset says is on the disk.
//
// Nothing here outlives the process: stages that a server finds at its start are discarded.
// All functions may be called from any thread; offset() may wait, so never call it on a network thread.
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
#include <tuple>
#include <vector>

#include "store/store.hpp"

namespace mc::server {

class PartialUploads {
 public:
  static constexpr std::size_t kMost = 256;  // parked ones, each with an open file; the oldest goes first
  static constexpr std::chrono::minutes kKeep{15};
  static constexpr std::chrono::seconds kInterruptWait{3};

  using Key = std::tuple<std::string, std::string, std::string, std::string>;  // path, name, recording id, SHA-256
  using Interrupt = std::function<void()>;

  // A connection feeds it from here on; what was parked under the key is given up. `interrupt` breaks that connection,
  // may be called from any thread, and must not call back.
  void begin(const Key& key, const void* owner, Interrupt interrupt);
  // The connection broke. A stage of an owner that is no longer the key's is dropped.
  void park(const Key& key, const void* owner, std::unique_ptr<store::Staged> staged);
  // It is finished, or given up for good.
  void end(const Key& key, const void* owner);

  // How many bytes of it are on the disk. One that is active is interrupted first: whoever asks has lost that
  // connection, though the server may not have noticed yet. Nothing: none is parked.
  std::optional<std::uint64_t> offset(const Key& key);
  // Takes it out, if it is parked and has exactly `offset` bytes. The caller calls begin() for it.
  std::unique_ptr<store::Staged> take(const Key& key, std::uint64_t offset);

 private:
  struct Entry {
    const void* owner = nullptr;  // of an active one
    Interrupt interrupt;
    std::unique_ptr<store::Staged> staged;  // of a parked one
    std::chrono::steady_clock::time_point parked_at{};
  };
  // What must go; destroyed by the caller without the lock, for removing a stage is work.
  std::vector<std::unique_ptr<store::Staged>> expired();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Entry> entries_;
};

}  // namespace mc::server
