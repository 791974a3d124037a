// Builds and publishes finished chunks, one after the other in their order, beside the recording: the next frame waits
// for none of it. Internal to this module.
//
// A chunk comes in with its journal, in which all its frames are durable already; it is sealed, built, published and
// listed, and only then its journal goes (mc-spool-format(5)). What fails leaves the journals in place: recovery builds
// the chunks from these. After an error nothing more is published.
//
// Owned by one thread, which makes all calls; the work is done on a thread of its own, or inside `submit`.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "spool/chunk_builder.hpp"
#include "spool/journal.hpp"
#include "spool/publish.hpp"
#include "sys/file_system.hpp"

namespace mc::spool {

// A chunk whose frames are durable in its journal and that is not in the manifest yet.
struct UnpublishedChunk {
  JournalHead head;
  JournalWriter journal;
  std::vector<JournalEntry> entries;
  NextFrames next;                          // as far as they have come
  JournalSeal seal;                         // from these, when it is submitted
  std::uint64_t bytes = 0;                  // of its frames
  std::shared_ptr<const mp4::Movie> movie;  // of init `head.init`, or a later one: these only add descriptions
};

class Publisher {
 public:
  // background: on a thread of its own. immediate: inside `submit`, so that the order of operations is always the same.
  enum class Mode : std::uint8_t { background, immediate };

  // `manifest` must outlive the publisher, which is the only one to use it between `submit` and `drain`. `on_done` is
  // called on the publisher's thread when `published` has something new to say; may be empty.
  Publisher(ManifestWriter& manifest, Mode mode, std::function<void()> on_done);
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;
  ~Publisher();  // finishes the chunk at hand and leaves the rest to recovery

  // Waits only while kMaxWaiting chunks are waiting already.
  Status submit(UnpublishedChunk chunk);
  // What is in the manifest since the last call; an error that stopped the work.
  Result<std::vector<wire::ChunkLine>> published();
  // Until everything submitted is in the manifest, or an error.
  Status drain();
  std::uint64_t unpublished_bytes() const;

  static constexpr std::size_t kMaxWaiting = 4;

 private:
  void work();
  Result<wire::ChunkLine> publish(UnpublishedChunk& chunk);
  Status status() const;  // under mutex_
  void finish_one(const Result<wire::ChunkLine>& line, std::uint64_t bytes);

  ManifestWriter& manifest_;
  Mode mode_;
  std::function<void()> on_done_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<UnpublishedChunk> waiting_;
  bool busy_ = false;
  bool stopping_ = false;
  std::uint64_t unpublished_bytes_ = 0;
  std::vector<wire::ChunkLine> published_;
  std::optional<Error> error_;
  std::thread thread_;
};

}  // namespace mc::spool
