// The durable steps that a recording directory is changed by, each in the order that mc-spool-format(5) gives.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/log.hpp"
#include "digest/sha256.hpp"
#include "sys/file_system.hpp"
#include "wire/manifest.hpp"

namespace mc::spool {

inline constexpr char kStagePrefix[] = ".stage-";
inline constexpr char kAsidePrefix[] = ".aside-";

// Failures of the disk (kind io) that were made good. After a failed flush the kernel takes the lost pages for clean,
// so the file is never flushed again: what belongs into it is written to a new one, once; a second failure is an error.
// Safe from any thread.
class DiskErrors {
 public:
  explicit DiskErrors(Log log) : log_(std::move(log)) {}
  // Is `error` one to be met so? Then it is counted and said, with what is done about it. Else it comes back: room does
  // not come by writing again.
  Status accept(const Error& error, const std::string& remedy);
  std::uint32_t count() const { return count_.load(std::memory_order_relaxed); }
  const Log& log() const { return log_; }

 private:
  Log log_;
  std::atomic<std::uint32_t> count_{0};
};

// Appends to the manifest of a directory, and knows what its bytes must be. One call at a time.
class ManifestWriter {
 public:
  // `fs` and `errors` must outlive it.
  ManifestWriter(sys::FileSystem& fs, std::string directory, DiskErrors& errors)
      : fs_(fs), directory_(std::move(directory)), errors_(errors) {}

  // What stands there now is what it goes on from.
  Status begin();
  // `lines`, durable.
  Status append(const std::string& lines);
  // Does the file hold what this writer found there and appended, and nothing else?
  bool is_what_was_written(ByteView bytes) const { return digest::sha256_hex(bytes) == written_.hex(); }

  sys::FileSystem& fs() const { return fs_; }
  const std::string& directory() const { return directory_; }
  DiskErrors& errors() const { return errors_; }

 private:
  sys::FileSystem& fs_;
  std::string directory_;
  DiskErrors& errors_;
  digest::Sha256 written_;
};

// `bytes` under `name`, durable: staged, renamed, the directory synced.
Status publish_durably(sys::FileSystem& fs, const std::string& directory, const std::string& name, ByteView bytes,
                       DiskErrors& errors);

// Publishes `bytes` as chunk `line.number`, lists it in the manifest with `ledger`, durably, in this order. A file of
// other content that stands there is set aside.
Status publish_chunk(ManifestWriter& manifest, const wire::ChunkLine& line, ByteView bytes, const std::string& ledger);

// The name under which a file of these bytes is kept when it is set aside.
std::string aside_name(const std::string& name, const std::string& sha256);
// Out of the way, but kept: hidden, with its hash in the name so that two of them do not meet.
Status set_aside(sys::FileSystem& fs, const std::string& directory, const std::string& name, const Log& log);

// Appends the `# end` line with its root, over `chunks` chunks. The first `unchecked_files` of the manifest are hashed
// before: those that this process has not written itself. A manifest that is not what was written, or whose line of
// such a file has a wrong digit, is put right first (manifest_repair.hpp); a file that is itself damaged is said, and
// left to mc-verify. The caller holds the lock and has recovered. Kind damaged: no chunk at all, or a manifest that
// cannot be put right; then it is not closed.
Status close_recording(ManifestWriter& manifest, std::uint32_t chunks, std::size_t unchecked_files);

}  // namespace mc::spool
