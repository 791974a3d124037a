#include "store/file_store.hpp"

#include <algorithm>
#include <cerrno>
#include <functional>

#include "store/file_staged.hpp"

namespace mc::store {
namespace {

constexpr char kLockName[] = ".lock";
// The kernel stamps files with the time of its last tick; 50 ms is five ticks of the slowest configuration.
constexpr std::int64_t kTokenGranularityNs = 50'000'000;
constexpr std::size_t kMaxRememberedDirectories = 100'000;

}  // namespace

Result<std::unique_ptr<FileStore>> FileStore::open(sys::FileSystem& fs, const std::string& root, const Log& log,
                                                   Locking locking) {
  MC_TRY(sys::make_directories(fs, root));
  std::unique_ptr<FileStore> store(new FileStore(fs, root));
  if (locking == Locking::kernel) {
    auto lock = sys::FileLock::acquire(sys::join_path(root, kLockName));
    if (!lock && lock.error().sys_errno == EWOULDBLOCK) {
      return fail(Error{ErrorKind::unavailable, "another server uses the store '" + root + "'", EWOULDBLOCK,
                        "one file store has one server"});
    }
    if (!lock) return fail(std::move(lock).error().within("cannot use the store"));
    store->lock_.emplace(std::move(*lock));
  }
  MC_TRY(store->discard_stages(log));
  return store;
}

FileStore::~FileStore() = default;

// Nobody else has a stage here (the lock), so each one that is found belongs to a server that died.
Status FileStore::discard_stages(const Log& log) {
  std::size_t removed = 0;
  const std::function<Status(const std::string&, int)> walk = [&](const std::string& directory, int depth) -> Status {
    const auto entries = fs_.list(directory);
    if (!entries && depth > 0) {
      // Somebody else's directory (lost+found); what we made ourselves we can read.
      log(LogLevel::warning, entries.error().message);
      return {};
    }
    if (!entries) return fail(entries.error());
    for (const sys::DirectoryEntry& entry : *entries) {
      const std::string child = sys::join_path(directory, entry.name);
      if (depth < 3 && entry.type == sys::FileType::directory && !entry.name.starts_with('.')) {
        MC_TRY(walk(child, depth + 1));
      } else if ((depth == 3 || depth == 1) && entry.name.starts_with(kStagePrefix)) {
        MC_TRY(fs_.remove(child));
        ++removed;
      }
    }
    return {};
  };
  MC_TRY(walk(root_, 0));
  if (removed > 0) {
    log(LogLevel::info, std::to_string(removed) + " unfinished upload(s) of an earlier run discarded");
  }
  return {};
}

std::string FileStore::directory_of(const wire::RecordingPath& path) const {
  return sys::join_path(root_, path.text());
}

ObjectInfo FileStore::describe(const std::string& name, const sys::FileInfo& info) const {
  const std::int64_t age_ns = system_clock().wall_ns() - info.changed_ns;
  return {name, info.size_bytes,
          std::to_string(info.inode) + ":" + std::to_string(info.changed_ns) + ":" + std::to_string(info.size_bytes),
          age_ns > kTokenGranularityNs};
}

// Under the mutex throughout: of two first uploads, the second must not go on before the first has synced the parents.
Status FileStore::take_directory(const wire::RecordingPath& path) {
  const std::lock_guard lock(directories_mutex_);
  std::string parent = root_;
  for (const std::string* component : {&path.session, &path.take, &path.guest}) {
    std::string child = sys::join_path(parent, *component);
    if (!durable_directories_.contains(child)) {
      MC_TRY(fs_.make_directory(child));
      MC_TRY(fs_.sync_directory(parent));
      if (durable_directories_.size() >= kMaxRememberedDirectories) durable_directories_.clear();
      durable_directories_.insert(child);
    }
    parent = std::move(child);
  }
  ++in_use_[parent];
  return {};
}

void FileStore::give_back_directory(const wire::RecordingPath& path, bool prune) {
  const std::lock_guard lock(directories_mutex_);
  std::string directory = directory_of(path);
  const auto found = in_use_.find(directory);
  if (found == in_use_.end() || --found->second > 0) return;
  in_use_.erase(found);
  if (!prune) return;
  for (int level = 0; level < 3; ++level) {
    // Another recording's stage may be about to be made below: its directory exists by then, so this one is not empty.
    if (!fs_.remove_directory(directory)) return;
    durable_directories_.erase(directory);
    directory = sys::parent_path(directory);
  }
}

std::mutex& FileStore::lock_of(const std::string& directory) {
  return recording_mutexes_[std::hash<std::string>{}(directory) % recording_mutexes_.size()];
}

void FileStore::forget_directory(const wire::RecordingPath& path) {
  const std::lock_guard lock(directories_mutex_);
  std::string directory = directory_of(path);
  for (int level = 0; level < 3; ++level) {
    durable_directories_.erase(directory);
    directory = sys::parent_path(directory);
  }
}

Result<std::unique_ptr<Staged>> FileStore::stage(const wire::RecordingPath& path, const std::string& name) {
  auto staged = try_stage(path, name);
  if (staged || staged.error().sys_errno != ENOENT) return staged;
  // Somebody took away a directory that we remember (mc-serve prune): it is made anew.
  forget_directory(path);
  return try_stage(path, name);
}

Result<std::unique_ptr<Staged>> FileStore::try_stage(const wire::RecordingPath& path, const std::string& name) {
  MC_TRY(take_directory(path));
  const std::string staged =
      sys::join_path(directory_of(path), kStagePrefix + std::to_string(next_stage_.fetch_add(1)));
  auto file = fs_.create(staged);
  if (!file) {
    give_back_directory(path, true);
    return fail(std::move(file).error());
  }
  return std::unique_ptr<Staged>(std::make_unique<FileStaged>(*this, path, name, staged, std::move(*file)));
}

Result<std::unique_ptr<Object>> FileStore::open(const wire::RecordingPath& path, const std::string& name) {
  const std::string full = sys::join_path(directory_of(path), name);
  MC_TRY_ASSIGN(const sys::FileInfo before, fs_.info(full));
  if (before.type != sys::FileType::file) return fail(ErrorKind::not_found, "'" + full + "' is not a file", ENOENT);
  MC_TRY_ASSIGN(auto file, fs_.open_read(full));
  // What was looked at and what was opened are the same when the name still means the same afterwards.
  MC_TRY_ASSIGN(const sys::FileInfo after, fs_.info(full));
  if (before.inode != after.inode) return open(path, name);
  return std::unique_ptr<Object>(std::make_unique<FileObject>(describe(name, before), std::move(file)));
}

Result<std::vector<ObjectInfo>> FileStore::list(const wire::RecordingPath& path) {
  const std::string directory = directory_of(path);
  MC_TRY_ASSIGN(const auto entries, fs_.list(directory));
  std::vector<ObjectInfo> found;
  for (const sys::DirectoryEntry& entry : entries) {
    if (entry.type != sys::FileType::file || !wire::parse_file_name(entry.name)) continue;
    MC_TRY_ASSIGN(const sys::FileInfo info, fs_.info(sys::join_path(directory, entry.name)));
    found.push_back(describe(entry.name, info));
  }
  return found;
}

Status FileStore::sync(const wire::RecordingPath& path) { return commit_names(directory_of(path)); }

Status FileStore::ensure_durable(const wire::RecordingPath& path, const ObjectInfo& info) {
  const std::string directory = directory_of(path);
  const std::string full = sys::join_path(directory, info.name);
  {
    const std::lock_guard lock(durable_mutex_);
    const auto found = durable_tokens_.find(full);
    if (found != durable_tokens_.end() && found->second == info.token) return {};
  }
  MC_TRY(commit_names(directory));
  const std::lock_guard lock(durable_mutex_);
  if (durable_tokens_.size() >= kMaxRememberedDirectories) durable_tokens_.clear();
  durable_tokens_[full] = info.token;
  return {};
}

Result<std::uint64_t> FileStore::free_bytes() {
  MC_TRY_ASSIGN(const sys::SpaceInfo space, fs_.space(root_));
  return space.free_bytes;
}

Status FileStore::ready() {
  MC_TRY(fs_.list(root_));
  MC_TRY_ASSIGN(const sys::SpaceInfo space, fs_.space(root_));
  if (space.free_bytes == 0 || space.free_inodes == 0) {
    return fail(ErrorKind::no_space, "the store '" + root_ + "' is full", ENOSPC);
  }
  return {};
}

}  // namespace mc::store
