// The seam through which every operation on a recording directory or a file store goes, so that tests can record
// the operations, make them fail, and forget what was not synced.
//
// Durability, as POSIX gives it and no more: bytes are durable after File::sync_data (or sync); a name (made by
// create, rename or make_dir, or taken by remove) after sync_directory on the directory that holds it. After a
// failed sync the file must not be trusted: the kernel has marked the lost pages clean. Stage again in a new file.
//
// All functions may be called from any thread; one File is used by one thread at a time. Paths are UTF-8 bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace mc::sys {

class File {
 public:
  virtual ~File() = default;  // closes; never commits, never reports
  // Appends at the file's own position, all or an error. After an error the length is unknown.
  virtual Status write(ByteView bytes) = 0;
  // Up to into.size() bytes at `offset`; fewer only at the end of the file.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) = 0;
  virtual Result<std::uint64_t> size() = 0;
  virtual Status truncate(std::uint64_t length) = 0;
  virtual Status sync_data() = 0;  // fdatasync(2)
  virtual Status sync() = 0;       // fsync(2)
  virtual Status close() = 0;      // checked; the File is unusable afterwards
  // Advises the kernel to forget its cached pages of the file, so that the next read comes from the device. Only pages
  // that were synced go. posix_fadvise(2) POSIX_FADV_DONTNEED; does nothing where there is no such thing.
  virtual void drop_cache() {}
};

enum class FileType : std::uint8_t { file, directory, other };
struct DirectoryEntry {
  std::string name;
  FileType type = FileType::other;
};
struct FileInfo {
  FileType type = FileType::other;
  std::uint64_t size_bytes = 0;
  std::uint64_t inode = 0;
  std::int64_t changed_ns = 0;  // ctime; with the inode it is the change token of a file store
};
struct SpaceInfo {
  std::uint64_t free_bytes = 0;   // for unprivileged users
  std::uint64_t free_inodes = 0;  // UINT64_MAX where the file system does not count them
  std::uint64_t total_bytes = 0;  // 0: not known
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> open_read(const std::string& path) = 0;    // not_found when absent
  virtual Result<std::unique_ptr<File>> create(const std::string& path) = 0;       // O_EXCL: EEXIST when present
  virtual Result<std::unique_ptr<File>> open_append(const std::string& path) = 0;  // O_APPEND; made when absent
  virtual Result<std::unique_ptr<File>> open_update(const std::string& path) = 0;  // read and truncate; must exist
  // Atomically gives `from` the name `to`; an existing `to` is replaced.
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // The same, but EEXIST when `to` exists. RENAME_NOREPLACE, or link + unlink where that is missing.
  virtual Status rename_new(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;            // a file; not_found when absent
  virtual Status remove_directory(const std::string& path) = 0;  // an empty one
  virtual Status make_directory(const std::string& path) = 0;    // one level; fine when it exists
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& path) = 0;  // without . and .., sorted by name
  virtual Result<FileInfo> info(const std::string& path) = 0;                     // does not follow a symbolic link
  virtual Result<SpaceInfo> space(const std::string& path) = 0;
};

// The kernel's. One object, lives for ever.
FileSystem& real_file_system();

// Makes `path` and all its parents, and syncs the parent of each: else a power cut can take the whole tree although
// every file in it was synced. Also of those that are there already, since whoever made them may not have synced them;
// of these parents one that may not be opened, or that cannot be synced, is passed over.
Status make_directories(FileSystem& fs, const std::string& path);

// The whole file, at most `limit_bytes` of it (more is ErrorKind::damaged).
Result<ByteBuffer> read_file(FileSystem& fs, const std::string& path, std::uint64_t limit_bytes);

// Stage: writes `bytes` under the hidden name `staged`, checks the length, syncs and closes. An older file of that
// name is removed first: it is nobody's. On failure the staged file is removed as far as possible.
Status stage_file(FileSystem& fs, const std::string& staged, ByteView bytes);
// Publish: renames the staged file and syncs the directory. After success the file is durable under `path`.
// A crash before the rename leaves only the hidden file; after it, either name may be found until the sync.
Status publish_file(FileSystem& fs, const std::string& staged, const std::string& path);

std::string parent_path(const std::string& path);    // "." for a bare name
std::string absolute_path(const std::string& path);  // from the working directory; nothing is looked up
std::string join_path(const std::string& directory, const std::string& name);

}  // namespace mc::sys
