#include "crash/sim_file_system.hpp"

#include <algorithm>
#include <cerrno>
#include <functional>

namespace mc::crash {
namespace {

constexpr Node kRoot = 0;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

tl::unexpected<Error> absent(const std::string& path) {
  return fail(ErrorKind::not_found, "cannot open '" + path + "': no such file or directory", ENOENT);
}
tl::unexpected<Error> dead() { return fail(ErrorKind::io, "killed", EIO); }

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    if (end > at && path.substr(at, end - at) != ".") parts.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

void write_at(ByteBuffer& file, std::uint64_t offset, ByteView bytes) {
  if (file.size() < offset + bytes.size()) file.resize(offset + bytes.size());
  std::ranges::copy(bytes, file.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

class SimFile final : public sys::File {
 public:
  SimFile(SimFileSystem& fs, Node node) : fs_(fs), node_(node) {}

  Status write(ByteView bytes) override {
    return fs_.record(WriteOp{node_, entry().bytes.size(), ByteBuffer(bytes.begin(), bytes.end())});
  }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
    const ByteBuffer& bytes = entry().bytes;
    if (offset >= bytes.size()) return std::size_t{0};
    const std::size_t n = std::min<std::size_t>(into.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), n, into.begin());
    return n;
  }
  Result<std::uint64_t> size() override { return entry().bytes.size(); }
  Status truncate(std::uint64_t length) override { return fs_.record(TruncateOp{node_, length}); }
  Status sync_data() override { return fs_.record(SyncOp{node_}); }
  Status sync() override { return fs_.record(SyncOp{node_}); }
  Status close() override { return {}; }

 private:
  SimFileSystem::Entry& entry() { return fs_.nodes_.at(node_); }

  SimFileSystem& fs_;
  Node node_;
};

SimFileSystem::SimFileSystem() { nodes_[kRoot].is_directory = true; }

void SimFileSystem::acknowledge(std::uint64_t frames) { log_.emplace_back(AcknowledgeOp{frames}); }

Result<Node> SimFileSystem::find(const std::string& path) const {
  Node node = kRoot;
  for (const std::string& part : split(path)) {
    const Entry& entry = nodes_.at(node);
    const auto found = entry.names.find(part);
    if (found == entry.names.end()) return absent(path);
    node = found->second;
  }
  return node;
}

Result<std::pair<Node, std::string>> SimFileSystem::place(const std::string& path) const {
  auto parts = split(path);
  if (parts.empty()) return fail(ErrorKind::bug, "the root has no name");
  const std::string name = parts.back();
  MC_TRY_ASSIGN(const Node directory, find(sys::parent_path(path)));
  return std::pair{directory, name};
}

Status SimFileSystem::record(Op op) {
  if (log_.size() >= alive_ops_) {
    died_ = true;
    return dead();
  }
  apply(nodes_, op);
  log_.push_back(std::move(op));
  return {};
}

void SimFileSystem::apply(std::map<Node, Entry>& nodes, const Op& op) {
  std::visit(Overloaded{[&](const CreateOp& o) {
                          nodes[o.node].is_directory = o.is_directory;
                          nodes[o.directory].names[o.name] = o.node;
                        },
                        [&](const WriteOp& o) { write_at(nodes[o.node].bytes, o.offset, o.bytes); },
                        [&](const TruncateOp& o) { nodes[o.node].bytes.resize(o.length); },
                        [&](const RenameOp& o) {
                          nodes[o.from_directory].names.erase(o.from);
                          nodes[o.to_directory].names[o.to] = o.node;
                        },
                        [&](const RemoveOp& o) { nodes[o.directory].names.erase(o.name); }, [](const auto&) {}},
             op);
}

Result<std::unique_ptr<sys::File>> SimFileSystem::open(const std::string& path) {
  MC_TRY_ASSIGN(const Node node, find(path));
  return std::unique_ptr<sys::File>(std::make_unique<SimFile>(*this, node));
}

Result<std::unique_ptr<sys::File>> SimFileSystem::open_read(const std::string& path) { return open(path); }
Result<std::unique_ptr<sys::File>> SimFileSystem::open_update(const std::string& path) { return open(path); }

Result<std::unique_ptr<sys::File>> SimFileSystem::create(const std::string& path) {
  MC_TRY_ASSIGN(const auto where, place(path));
  if (nodes_.at(where.first).names.contains(where.second)) {
    return fail(ErrorKind::no_space, "cannot create '" + path + "': file exists", EEXIST);
  }
  MC_TRY(record(CreateOp{where.first, next_, where.second, false}));
  return std::unique_ptr<sys::File>(std::make_unique<SimFile>(*this, next_++));
}

Result<std::unique_ptr<sys::File>> SimFileSystem::open_append(const std::string& path) {
  if (find(path)) return open(path);
  return create(path);
}

Status SimFileSystem::rename(const std::string& from, const std::string& to) {
  MC_TRY_ASSIGN(const Node node, find(from));
  MC_TRY_ASSIGN(const auto source, place(from));
  MC_TRY_ASSIGN(const auto target, place(to));
  return record(RenameOp{source.first, target.first, node, source.second, target.second});
}

Status SimFileSystem::rename_new(const std::string& from, const std::string& to) {
  if (find(to)) return fail(ErrorKind::no_space, "cannot rename to '" + to + "': file exists", EEXIST);
  return rename(from, to);
}

Status SimFileSystem::remove(const std::string& path) {
  MC_TRY(find(path));
  MC_TRY_ASSIGN(const auto where, place(path));
  return record(RemoveOp{where.first, where.second});
}

Status SimFileSystem::remove_directory(const std::string& path) {
  MC_TRY_ASSIGN(const Node node, find(path));
  if (!nodes_.at(node).names.empty()) return fail(ErrorKind::io, "'" + path + "' is not empty", ENOTEMPTY);
  return remove(path);
}

Status SimFileSystem::make_directory(const std::string& path) {
  if (find(path)) return {};
  MC_TRY_ASSIGN(const auto where, place(path));
  MC_TRY(record(CreateOp{where.first, next_, where.second, true}));
  ++next_;
  return {};
}

Status SimFileSystem::sync_directory(const std::string& path) {
  MC_TRY_ASSIGN(const Node node, find(path));
  return record(SyncDirectoryOp{node});
}

Status SimFileSystem::end_sync_directory(const std::string& path, std::size_t began) {
  MC_TRY_ASSIGN(const Node node, find(path));
  return record(SyncDirectoryOp{node, began});
}

Result<std::vector<sys::DirectoryEntry>> SimFileSystem::list(const std::string& path) {
  MC_TRY_ASSIGN(const Node node, find(path));
  std::vector<sys::DirectoryEntry> entries;
  for (const auto& [name, child] : nodes_.at(node).names) {
    entries.push_back({name, nodes_.at(child).is_directory ? sys::FileType::directory : sys::FileType::file});
  }
  return entries;
}

Result<sys::FileInfo> SimFileSystem::info(const std::string& path) {
  MC_TRY_ASSIGN(const Node node, find(path));
  const Entry& entry = nodes_.at(node);
  return sys::FileInfo{entry.is_directory ? sys::FileType::directory : sys::FileType::file, entry.bytes.size(), node,
                       0};
}

Result<sys::SpaceInfo> SimFileSystem::space(const std::string&) { return sys::SpaceInfo{1ULL << 40, 1ULL << 30}; }

std::vector<std::size_t> SimFileSystem::unsynced(const OpLog& log, std::size_t length) {
  std::vector<std::size_t> found;
  std::set<Node> synced_later;
  std::map<Node, std::size_t> synced_directories_later;  // with what the latest of their syncs covers
  const auto is_synced = [&](Node directory, std::size_t i) {
    const auto found_sync = synced_directories_later.find(directory);
    return found_sync != synced_directories_later.end() && i < found_sync->second;
  };
  for (std::size_t i = length; i-- > 0;) {
    std::visit(Overloaded{[&](const SyncOp& o) { synced_later.insert(o.node); },
                          [&](const SyncDirectoryOp& o) {
                            auto& covers = synced_directories_later[o.directory];
                            covers = std::max(covers, o.covers);
                          },
                          [&](const WriteOp& o) {
                            if (!synced_later.contains(o.node)) found.push_back(i);
                          },
                          [&](const TruncateOp& o) {
                            if (!synced_later.contains(o.node)) found.push_back(i);
                          },
                          [&](const CreateOp& o) {
                            if (!is_synced(o.directory, i)) found.push_back(i);
                          },
                          [&](const RemoveOp& o) {
                            if (!is_synced(o.directory, i)) found.push_back(i);
                          },
                          [&](const RenameOp& o) {
                            if (!is_synced(o.to_directory, i)) found.push_back(i);
                          },
                          [](const AcknowledgeOp&) {}},
               log[i]);
  }
  std::ranges::reverse(found);
  return found;
}

SimFileSystem SimFileSystem::after_crash(const OpLog& log, const Choice& choice) {
  return replay(SimFileSystem(), log, choice);
}

SimFileSystem SimFileSystem::replay(SimFileSystem left, const OpLog& log, const Choice& choice) {
  left.log_.clear();
  left.alive_ops_ = SIZE_MAX;
  left.died_ = false;
  // A name that was never made durable takes the operations on that name with it only as far as they need it: a lost
  // create with a kept rename leaves the new name, as real file systems may.
  for (std::size_t i = 0; i < choice.length; ++i) {
    const auto found = choice.unsynced.find(i);
    const Fate fate = found == choice.unsynced.end() ? Fate::kept : found->second;
    if (fate == Fate::lost) {
      // The node exists all the same: a later operation may give it a name.
      if (const auto* create = std::get_if<CreateOp>(&log[i]))
        left.nodes_[create->node].is_directory = create->is_directory;
      continue;
    }
    const auto* write = std::get_if<WriteOp>(&log[i]);
    if (write == nullptr || fate == Fate::kept) {
      apply(left.nodes_, log[i]);
    } else if (fate == Fate::torn) {
      const std::size_t n = std::min(write->bytes.size(), choice.torn_sectors * kSectorBytes);
      if (n > 0) write_at(left.nodes_[write->node].bytes, write->offset, {write->bytes.data(), n});
    } else if (fate == Fate::holed) {
      ByteBuffer holed = write->bytes;
      const std::size_t from = std::min(holed.size(), choice.torn_sectors * kPageBytes);
      std::fill_n(holed.begin() + static_cast<std::ptrdiff_t>(from), std::min(kPageBytes, holed.size() - from), 0);
      write_at(left.nodes_[write->node].bytes, write->offset, holed);
    } else {
      ByteBuffer grown(write->bytes.size());
      std::copy_n(write->bytes.begin(), std::min(grown.size(), choice.torn_sectors * kSectorBytes), grown.begin());
      write_at(left.nodes_[write->node].bytes, write->offset, grown);
    }
    if (const auto* create = std::get_if<CreateOp>(&log[i])) left.next_ = std::max(left.next_, create->node + 1);
  }
  for (const auto& [node, entry] : left.nodes_) left.next_ = std::max(left.next_, node + 1);
  return left;
}

std::map<std::string, ByteBuffer> SimFileSystem::tree() const {
  std::map<std::string, ByteBuffer> files;
  const std::function<void(Node, const std::string&)> walk = [&](Node node, const std::string& path) {
    for (const auto& [name, child] : nodes_.at(node).names) {
      const Entry& entry = nodes_.at(child);
      if (entry.is_directory) {
        walk(child, path + name + "/");
      } else {
        files[path + name] = entry.bytes;
      }
    }
  };
  walk(kRoot, "");
  return files;
}

std::uint64_t SimFileSystem::tree_hash() const {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a, 64 bits
  const auto mix = [&hash](ByteView bytes) {
    for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211ULL;
    hash = (hash ^ 0x1FF) * 1099511628211ULL;
  };
  for (const auto& [path, bytes] : tree()) {
    mix(as_bytes(path));
    mix(bytes);
  }
  return hash;
}

}  // namespace mc::crash
