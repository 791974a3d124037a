// A file system in memory (FUSE) that forgets, at a power cut, every byte and every name that was not synced: what real
// file systems may do and hardly ever do. A file's bytes become durable with its fsync or fdatasync, the names in a
// directory with that directory's fsync, and a name is never made durable by its file.
//
//   forgetful_fs MOUNTPOINT        serves in the foreground until it is unmounted; "ready" on stdout when it can be
//   used
//
// Commands are written to MOUNTPOINT/.forgetful, one a write:
//
//   crash          the power is gone: nothing can be done any more, everything fails with EIO
//   crash-after N  the same in front of the N-th change or flush from now on
//   revive         the disk again, with what was durable; files that were open before stay useless
//   slow US        each fsync takes US microseconds from now on
//   room BYTES     that much is free from now on; writing takes from it, removing gives back nothing
//
// Served by one thread, like a disk with one head: a slow flush delays whatever comes behind it.
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace {

struct Node;
using NodePtr = std::shared_ptr<Node>;
using Names = std::map<std::string, NodePtr, std::less<>>;

struct Node {
  mode_t mode = 0;
  ino_t number = 0;
  int generation = 0;
  std::string bytes, durable_bytes;
  Names names, durable_names;

  bool is_directory() const { return S_ISDIR(mode); }
};

struct Disk {
  NodePtr root;
  ino_t next_number = 1;
  int generation = 0;  // of open files: those from before a crash are stale
  bool dead = false;
  long changes_left = -1;  // until the power goes; below 0: it does not
  long flush_us = 0;
  std::optional<std::uint64_t> room;

  NodePtr make(mode_t mode) {
    auto node = std::make_shared<Node>();
    node->mode = mode;
    node->number = next_number++;
    node->generation = generation;
    return node;
  }
} disk;

constexpr std::string_view kControl = "/.forgetful";

NodePtr find(std::string_view path) {
  NodePtr node = disk.root;
  while (node && path.size() > 1) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    if (!node->is_directory()) return nullptr;
    const auto child = node->names.find(path.substr(0, end));
    node = child == node->names.end() ? nullptr : child->second;
    path.remove_prefix(end);
  }
  return node;
}

struct Place {
  NodePtr parent;
  std::string name;
};
Place place_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return {find(slash == 0 ? "/" : path.substr(0, slash)), std::string(path.substr(slash + 1))};
}

Node* opened(const fuse_file_info* info) { return reinterpret_cast<NodePtr*>(info->fh)->get(); }  // NOLINT

// EIO for a dead disk and for a file from before the crash.
int refuse(const fuse_file_info* info) { return disk.dead || opened(info)->generation != disk.generation ? -EIO : 0; }

// In front of each change and flush: true when the disk is dead.
bool dies() {
  if (disk.changes_left > 0 && --disk.changes_left == 0) disk.dead = true;
  return disk.dead;
}

void keep_open(NodePtr node, fuse_file_info* info) {
  info->fh = reinterpret_cast<std::uint64_t>(new NodePtr(std::move(node)));
  info->direct_io = 1;  // the kernel remembers nothing either
}

// What is durable below `node` becomes all there is.
void forget(Node& node) {
  node.generation = disk.generation;
  node.bytes = node.durable_bytes;
  node.names = node.durable_names;
  for (auto& [name, child] : node.names) forget(*child);
}

int obey(std::string_view words) {
  const auto value = [&](std::string_view name) -> std::optional<long> {
    if (!words.starts_with(name)) return std::nullopt;
    return std::strtol(std::string(words.substr(name.size())).c_str(), nullptr, 10);
  };
  if (const auto after = value("crash-after ")) {
    disk.changes_left = *after;
  } else if (words.starts_with("crash")) {
    disk.dead = true;
  } else if (words.starts_with("revive")) {
    ++disk.generation;
    disk.dead = false;
    disk.changes_left = -1;
    forget(*disk.root);
  } else if (const auto slow = value("slow ")) {
    disk.flush_us = *slow;
  } else if (const auto room = value("room ")) {
    disk.room = static_cast<std::uint64_t>(*room);
  } else {
    return -EINVAL;
  }
  return static_cast<int>(words.size());
}

void* start(fuse_conn_info*, fuse_config* config) {
  config->use_ino = 1;
  config->hard_remove = 1;
  config->nullpath_ok = 0;
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
  std::printf("ready\n");
  std::fflush(stdout);
  return nullptr;
}

int get_attributes(const char* path, struct stat* out, fuse_file_info* info) {
  *out = {};
  if (path != nullptr && path == kControl) {
    out->st_mode = S_IFREG | 0200;
    return 0;
  }
  if (disk.dead) return -EIO;
  const NodePtr node = info != nullptr && info->fh != 0 ? *reinterpret_cast<NodePtr*>(info->fh) : find(path);  // NOLINT
  if (!node) return -ENOENT;
  out->st_mode = node->mode;
  out->st_ino = node->number;
  out->st_nlink = 1;
  out->st_size = static_cast<off_t>(node->bytes.size());
  out->st_blocks = (out->st_size + 511) / 512;
  return 0;
}

int make_node(std::string_view path, mode_t mode, NodePtr* made = nullptr) {
  if (dies()) return -EIO;
  const Place place = place_of(path);
  if (!place.parent) return -ENOENT;
  if (disk.room && *disk.room == 0) return -ENOSPC;
  auto [at, fresh] = place.parent->names.try_emplace(place.name);
  if (!fresh) return -EEXIST;
  at->second = disk.make(mode);
  if (made != nullptr) *made = at->second;
  return 0;
}
int make_directory(const char* path, mode_t mode) { return make_node(path, S_IFDIR | mode); }
int make_special(const char* path, mode_t mode, dev_t) { return make_node(path, mode); }

int create(const char* path, mode_t mode, fuse_file_info* info) {
  NodePtr node;
  const int code = make_node(path, S_IFREG | (mode & 07777), &node);
  if (code == 0) keep_open(std::move(node), info);
  return code;
}

int open_file(const char* path, fuse_file_info* info) {
  info->direct_io = 1;
  if (path == kControl) return 0;
  if (disk.dead) return -EIO;
  NodePtr node = find(path);
  if (!node) return -ENOENT;
  if ((info->flags & O_TRUNC) != 0) node->bytes.clear();
  keep_open(std::move(node), info);
  return 0;
}

int close_file(const char*, fuse_file_info* info) {
  if (info->fh != 0) delete reinterpret_cast<NodePtr*>(info->fh);  // NOLINT
  return 0;
}

int read_file(const char*, char* out, std::size_t size, off_t offset, fuse_file_info* info) {
  if (info->fh == 0) return 0;
  if (const int code = refuse(info); code != 0) return code;
  const std::string& bytes = opened(info)->bytes;
  const auto from = std::min(static_cast<std::size_t>(offset), bytes.size());
  const auto n = std::min(size, bytes.size() - from);
  std::memcpy(out, bytes.data() + from, n);
  return static_cast<int>(n);
}

int write_file(const char*, const char* data, std::size_t size, off_t offset, fuse_file_info* info) {
  if (info->fh == 0) return obey({data, size});
  if (dies()) return -EIO;
  if (const int code = refuse(info); code != 0) return code;
  std::string& bytes = opened(info)->bytes;
  const std::size_t end = static_cast<std::size_t>(offset) + size;
  if (end > bytes.size()) {
    const std::size_t more = end - bytes.size();
    if (disk.room) {
      if (*disk.room < more) return -ENOSPC;
      *disk.room -= more;
    }
    bytes.resize(end);
  }
  bytes.replace(static_cast<std::size_t>(offset), size, data, size);
  return static_cast<int>(size);
}

int truncate_file(const char* path, off_t size, fuse_file_info* info) {
  if (path == kControl) return 0;
  if (dies()) return -EIO;
  const NodePtr node = info != nullptr && info->fh != 0 ? *reinterpret_cast<NodePtr*>(info->fh) : find(path);  // NOLINT
  if (!node) return -ENOENT;
  node->bytes.resize(static_cast<std::size_t>(size));
  return 0;
}

int sync_file(const char*, int, fuse_file_info* info) {
  if (info->fh == 0) return 0;
  if (dies()) return -EIO;
  if (const int code = refuse(info); code != 0) return code;
  if (disk.flush_us > 0) {
    const timespec time{disk.flush_us / 1'000'000, disk.flush_us % 1'000'000 * 1000};
    ::nanosleep(&time, nullptr);
  }
  Node& node = *opened(info);
  node.durable_bytes = node.bytes;
  node.durable_names = node.names;
  return 0;
}

int remove_name(const char* path) {
  if (dies()) return -EIO;
  const Place place = place_of(path);
  if (!place.parent) return -ENOENT;
  const auto at = place.parent->names.find(place.name);
  if (at == place.parent->names.end()) return -ENOENT;
  if (at->second->is_directory() && !at->second->names.empty()) return -ENOTEMPTY;
  place.parent->names.erase(at);
  return 0;
}

int rename_file(const char* from, const char* to, unsigned int flags) {
  if (dies()) return -EIO;
  const Place old = place_of(from), fresh = place_of(to);
  if (!old.parent || !fresh.parent) return -ENOENT;
  const auto at = old.parent->names.find(old.name);
  if (at == old.parent->names.end()) return -ENOENT;
  if ((flags & ~1U) != 0) return -EINVAL;
  if (flags == 1 && fresh.parent->names.contains(fresh.name)) return -EEXIST;  // RENAME_NOREPLACE
  const NodePtr node = at->second;
  old.parent->names.erase(at);
  fresh.parent->names[fresh.name] = node;
  return 0;
}

int read_directory(const char* path, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*, fuse_readdir_flags) {
  if (disk.dead) return -EIO;
  const NodePtr node = find(path);
  if (!node) return -ENOENT;
  for (const char* name : {".", ".."}) fill(buffer, name, nullptr, 0, fuse_fill_dir_flags{});
  for (const auto& [name, child] : node->names) {
    struct stat about {};
    about.st_mode = child->mode;
    about.st_ino = child->number;
    fill(buffer, name.c_str(), &about, 0, fuse_fill_dir_flags{});
  }
  return 0;
}

int room(const char*, struct statvfs* out) {
  if (disk.dead) return -EIO;
  *out = {};
  out->f_bsize = out->f_frsize = 4096;
  out->f_blocks = std::uint64_t{16} << 18;
  out->f_bfree = out->f_bavail = disk.room ? *disk.room / 4096 : out->f_blocks / 2;
  out->f_files = 1 << 20;
  out->f_ffree = out->f_favail = 1 << 19;
  out->f_namemax = 255;
  return 0;
}

int change_mode(const char* path, mode_t mode, fuse_file_info*) {
  const NodePtr node = find(path);
  if (!node) return -ENOENT;
  node->mode = (node->mode & S_IFMT) | (mode & 07777);
  return 0;
}
int change_times(const char*, const timespec*, fuse_file_info*) { return 0; }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: forgetful_fs MOUNTPOINT\n");
    return 64;
  }
  disk.root = disk.make(S_IFDIR | 0755);
  fuse_operations operations{};
  operations.init = start;
  operations.getattr = get_attributes;
  operations.mkdir = make_directory;
  operations.mknod = make_special;
  operations.create = create;
  operations.open = open_file;
  operations.opendir = open_file;
  operations.release = close_file;
  operations.releasedir = close_file;
  operations.read = read_file;
  operations.write = write_file;
  operations.truncate = truncate_file;
  operations.fsync = sync_file;
  operations.fsyncdir = sync_file;
  operations.unlink = remove_name;
  operations.rmdir = remove_name;
  operations.rename = rename_file;
  operations.readdir = read_directory;
  operations.statfs = room;
  operations.chmod = change_mode;
  operations.utimens = change_times;
  char foreground[] = "-f", single[] = "-s", options[] = "-o", values[] = "allow_other";
  char* arguments[] = {argv[0], foreground, single, options, values, argv[1], nullptr};
  return fuse_main(6, arguments, &operations, nullptr);
}
