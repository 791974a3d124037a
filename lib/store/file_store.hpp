// A store in a directory of one host's file system.
//
//   ROOT/.lock                               kernel lock: one server per root
//   ROOT/SESSION/.session                    the session's document; replaced by rename
//   ROOT/SESSION/TAKE/GUEST/NAME             a published file; the bytes of the guest's spool
//   ROOT/SESSION/TAKE/GUEST/.recording       which recording the path belongs to (binding.hpp)
//   ROOT/SESSION/TAKE/GUEST/.stage-…         being received; proves nothing; removed at the next open
//   ROOT/SESSION/TAKE/GUEST/.conflict-NAME-… other bytes that somebody sent for NAME; for a person to look at
//   ROOT/SESSION/TAKE/GUEST/.damaged-NAME-…  what was found under NAME in the place of the right bytes; likewise
//
// Publishing is: the stage's length checked, fdatasync, checked close, rename that replaces nothing, fsync of the
// directory. The fdatasyncs of several uploads go on side by side; the fsync of a directory answers for all renames
// that came before it (group_commit.hpp). Each directory that is made has its parent synced before anything in it is
// acknowledged. A crash before the rename leaves a stage; after it, the whole file or the stage; never half a file
// under a visible name.
//
// Compare-and-swap is a lock in this process, which is why one root has one server. The change token is inode, ctime
// and size; it is settled when the ctime is older than the granularity of the kernel's time stamps.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "store/group_commit.hpp"
#include "store/store.hpp"
#include "sys/file_system.hpp"
#include "sys/lock.hpp"

namespace mc::store {

inline constexpr char kStagePrefix[] = ".stage-";
inline constexpr char kDocumentName[] = ".session";

class FileStore final : public Store {
 public:
  enum class Locking : std::uint8_t { kernel, none };  // none: tests on a simulated file system

  // Makes the root, durably, when it is not there; takes the lock; removes stages that a crash left.
  // Kinds: unavailable (another server has the lock), permission, no_space, io.
  static Result<std::unique_ptr<FileStore>> open(sys::FileSystem& fs, const std::string& root, const Log& log,
                                                 Locking locking = Locking::kernel);
  ~FileStore() override;

  Result<std::unique_ptr<Staged>> stage(const wire::RecordingPath& path, const std::string& name) override;
  Result<std::unique_ptr<Object>> open(const wire::RecordingPath& path, const std::string& name) override;
  Result<std::vector<ObjectInfo>> list(const wire::RecordingPath& path) override;
  Status sync(const wire::RecordingPath& path) override;
  Status ensure_durable(const wire::RecordingPath& path, const ObjectInfo& info) override;
  Result<std::vector<std::string>> recordings(const std::string& session, const std::string& take) override;
  Result<std::optional<Document>> read_document(const std::string& session) override;
  Result<bool> swap_document(const std::string& session, const std::optional<std::string>& expected,
                             std::string_view text) override;
  Result<std::uint64_t> free_bytes() override;
  Status ready() override;

  const std::string& root() const { return root_; }
  GroupCommit::Counts commits() const { return commits_.counts(); }

 private:
  class FileStaged;
  class FileObject;

  FileStore(sys::FileSystem& fs, std::string root) : fs_(fs), root_(std::move(root)), commits_(fs) {}
  Status discard_stages(const Log& log);
  std::string directory_of(const wire::RecordingPath& path) const;
  ObjectInfo describe(const std::string& name, const sys::FileInfo& info) const;

  // A directory is in use while a stage lies in it; when the last one is given back without having published, the
  // directory (and the ones above) go again if they are empty: a refused upload leaves nothing.
  Status take_directory(const wire::RecordingPath& path);
  void forget_directory(const wire::RecordingPath& path);
  Result<std::unique_ptr<Staged>> try_stage(const wire::RecordingPath& path, const std::string& name);
  void give_back_directory(const wire::RecordingPath& path, bool prune);
  // The names that we made in it before are durable when this returns; the only way to a 201.
  Status commit_names(const std::string& directory) { return commits_.commit(directory); }
  std::mutex& lock_of(const std::string& directory);
  Status replace_document(const std::string& directory, std::string_view text);

  sys::FileSystem& fs_;
  std::string root_;
  GroupCommit commits_;
  std::optional<sys::FileLock> lock_;
  std::atomic<std::uint64_t> next_stage_{1};
  std::mutex directories_mutex_;
  std::set<std::string> durable_directories_;  // made or seen by us, and the parent synced since
  std::map<std::string, std::size_t> in_use_;  // directory -> stages in it
  std::mutex durable_mutex_;
  std::unordered_map<std::string, std::string> durable_tokens_;  // of ensure_durable and of documents, by path
  std::array<std::mutex, 64> recording_mutexes_;                 // by hash of the directory: the compare-and-swap
};

}  // namespace mc::store
