// A file system in memory that remembers every operation, so that each state which a crash may legally leave can be
// built from the log: weak POSIX, as the FileSystem seam promises it and no more.
//
//   SimFileSystem fs;  …record something on it, fs.acknowledge(n) as acknowledgements come…
//   for (CrashState& s : …) { auto left = SimFileSystem::after_crash(fs.log(), choice); recover on it; check }
//
// After a crash behind operation k:
//   names  a create, rename, remove or make_directory persists if its directory was synced after it; else freely, one
//          by one (a rename is one operation: both names or none)
//   data   a write or truncate persists if its file was synced after it; else freely, one by one, torn at a 512-byte
//          boundary, with the file grown to its new length and zeros in place of the bytes behind that, or with one
//          page in the middle never written
// One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "sys/file_system.hpp"

namespace mc::crash {

// What a disk writes whole, and what a file system allots whole.
inline constexpr std::size_t kSectorBytes = 512;
inline constexpr std::size_t kPageBytes = 4096;

using Node = std::uint32_t;  // a file or directory, whatever names it has

struct CreateOp {  // a file or a directory gets its first name
  Node directory, node;
  std::string name;
  bool is_directory;
};
struct WriteOp {
  Node node;
  std::uint64_t offset;
  ByteBuffer bytes;
};
struct TruncateOp {
  Node node;
  std::uint64_t length;
};
struct SyncOp {
  Node node;
};
struct RenameOp {
  Node from_directory, to_directory, node;
  std::string from, to;
};
struct RemoveOp {
  Node directory;
  std::string name;
};
struct SyncDirectoryOp {
  Node directory;
  std::size_t covers = SIZE_MAX;  // it began before the operation of this index: what came later may still be lost
};
struct AcknowledgeOp {   // not of the file system
  std::uint64_t frames;  // so many frames were acknowledged by now; of a store: this upload was
};
using Op = std::variant<CreateOp, WriteOp, TruncateOp, SyncOp, RenameOp, RemoveOp, SyncDirectoryOp, AcknowledgeOp>;
using OpLog = std::vector<Op>;

// What becomes of an operation that no sync covers.
enum class Fate : std::uint8_t { kept, lost, torn, zeros, holed };
struct Choice {
  std::size_t length = 0;                // operations before the crash
  std::map<std::size_t, Fate> unsynced;  // by index into the log; absent: kept
  std::uint32_t torn_sectors = 0;        // torn, zeros: how many 512-byte sectors of the write are there; holed: which
                                         // page of 4096 bytes is not
};

class SimFileSystem final : public sys::FileSystem {
 public:
  SimFileSystem();

  Result<std::unique_ptr<sys::File>> open_read(const std::string& path) override;
  Result<std::unique_ptr<sys::File>> create(const std::string& path) override;
  Result<std::unique_ptr<sys::File>> open_append(const std::string& path) override;
  Result<std::unique_ptr<sys::File>> open_update(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status rename_new(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status remove_directory(const std::string& path) override;
  Status make_directory(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<std::vector<sys::DirectoryEntry>> list(const std::string& path) override;
  Result<sys::FileInfo> info(const std::string& path) override;
  Result<sys::SpaceInfo> space(const std::string& path) override;

  void acknowledge(std::uint64_t frames);
  // An fsync of a directory that began when the log had `began` operations and ends now.
  Status end_sync_directory(const std::string& path, std::size_t began);
  const OpLog& log() const { return log_; }

  // Every operation behind the first `n` fails: the process is dead. For killing recovery at each of its own.
  void die_after(std::size_t n) { alive_ops_ = log_.size() + n; }
  bool died() const { return died_; }

  // Which operations before `length` no sync covers.
  static std::vector<std::size_t> unsynced(const OpLog& log, std::size_t length);
  // What is found after the crash, with an empty log of its own: what is there now is durable.
  static SimFileSystem after_crash(const OpLog& log, const Choice& choice);
  // The same for a log that began on `start` instead of on an empty file system.
  static SimFileSystem replay(SimFileSystem start, const OpLog& log, const Choice& choice);

  // Every path with its bytes; equal trees have equal texts. Files only.
  std::map<std::string, ByteBuffer> tree() const;
  std::uint64_t tree_hash() const;

 private:
  struct Entry {
    bool is_directory = false;
    ByteBuffer bytes;
    std::map<std::string, Node> names;  // of a directory
  };
  friend class SimFile;

  Result<Node> find(const std::string& path) const;
  Result<std::pair<Node, std::string>> place(const std::string& path) const;
  Status record(Op op);
  static void apply(std::map<Node, Entry>& nodes, const Op& op);
  Result<std::unique_ptr<sys::File>> open(const std::string& path);

  std::map<Node, Entry> nodes_;
  Node next_ = 1;
  OpLog log_;
  std::size_t alive_ops_ = SIZE_MAX;
  bool died_ = false;
};

}  // namespace mc::crash
