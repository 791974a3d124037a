// What the store is known to hold: for each file the SHA-256 that was *read back from the store*, with the change token
// it had at that moment. "Synced" is computed from this and from nothing else: a hash that a client stated, or that was
// computed while the bytes came in, never enters (never-lose F8, F9).
//
// A note counts only as long as the token is the same; otherwise the file is read again. An unsettled token (see
// ObjectInfo) is never noted. It is a cache: after a restart it is empty and everything is read again.
//
//   HeldIndex index(store, log);
//   index.published(path, name);            // after each publish: read back soon, by a thread of its own that
//                                           // runs at the lowest priority for the processor and for the disk
//   index.sha256_of(path, name)             // now, from the note or by reading
//
// All functions may be called from any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/log.hpp"
#include "digest/sha256.hpp"
#include "store/store.hpp"

namespace mc::store {

class HeldIndex {
 public:
  static constexpr std::size_t kDefaultMaxNotes = 500'000;  // about 150 bytes each

  HeldIndex(Store& store, Log log, std::size_t max_notes = kDefaultMaxNotes);
  HeldIndex(const HeldIndex&) = delete;
  HeldIndex& operator=(const HeldIndex&) = delete;
  ~HeldIndex();  // stops the thread; what it has not read yet is read when it is asked for

  // Asks for a read-back in the background. Never blocks; forgotten when too many are waiting.
  void published(const wire::RecordingPath& path, const std::string& name);

  // The hash of a file that `info` (of Store::list) describes: from the note when the token is the same, else read.
  Result<std::string> sha256_of(const wire::RecordingPath& path, const ObjectInfo& info);
  // The same for a file that is open; the bytes hashed are those that `object` reads.
  Result<std::string> sha256_of(const wire::RecordingPath& path, Object& object);

  // Always by reading, from the medium, whatever was noted; the note is then what was read.
  Result<std::string> read_again(const wire::RecordingPath& path, const std::string& name);

  // How many files were read back so far, for tests and metrics.
  std::uint64_t files_read() const;
  std::size_t waiting() const;  // for their read-back

 private:
  struct Note {
    digest::Sha256Value sha256{};
    std::string token;
  };
  struct Recording {
    std::unordered_map<std::string, Note> notes;
    std::list<std::string>::iterator age;  // in recent_
  };
  struct Waiting {
    wire::RecordingPath path;
    std::string name;
    std::int64_t due_ns = 0;  // monotonic: when the token will have settled
  };

  std::optional<std::string> noted(const std::string& recording, const ObjectInfo& info);
  void note(const std::string& recording, const ObjectInfo& info, const digest::Sha256Value& sha256);
  Result<std::string> read_back(const wire::RecordingPath& path, Object& object);
  void work();

  Store& store_;
  Log log_;
  const std::size_t max_notes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::deque<Waiting> waiting_;
  std::unordered_map<std::string, Recording> recordings_;
  std::list<std::string> recent_;  // recordings, the one used last in front
  std::size_t note_count_ = 0;
  std::uint64_t files_read_ = 0;
  std::thread worker_;
};

}  // namespace mc::store
