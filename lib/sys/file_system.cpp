#include "sys/file_system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "sys/fd.hpp"

namespace mc::sys {
namespace {

std::string quoted(const std::string& path) { return "'" + path + "'"; }

class RealFile final : public File {
 public:
  RealFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Status write(ByteView bytes) override { return write_all(fd_.get(), bytes, quoted(path_)); }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t n = ::pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
      if (n == 0) break;
      if (n > 0) {
        done += static_cast<std::size_t>(n);
      } else if (errno != EINTR) {
        Error error = errno_error(errno, "cannot read " + quoted(path_));
        if (error.sys_errno == EISDIR) error.kind = ErrorKind::not_found;  // no file of that name, that is
        return fail(std::move(error));
      }
    }
    return done;
  }

  Result<std::uint64_t> size() override {
    struct stat st {};
    if (::fstat(fd_.get(), &st) != 0) return fail(errno_error(errno, "cannot stat " + quoted(path_)));
    return static_cast<std::uint64_t>(st.st_size);
  }

  Status truncate(std::uint64_t length) override {
    while (::ftruncate(fd_.get(), static_cast<off_t>(length)) != 0) {
      if (errno != EINTR) return fail(errno_error(errno, "cannot truncate " + quoted(path_)));
    }
    return {};
  }

  Status sync_data() override {
    if (::fdatasync(fd_.get()) != 0) return fail(errno_error(errno, "cannot sync " + quoted(path_)));
    return {};
  }

  Status sync() override {
    if (::fsync(fd_.get()) != 0) return fail(errno_error(errno, "cannot sync " + quoted(path_)));
    return {};
  }

  Status close() override { return fd_.close(quoted(path_)); }

  void drop_cache() override { (void)::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED); }

 private:
  Fd fd_;
  std::string path_;
};

FileType type_of(mode_t mode) {
  if (S_ISREG(mode)) return FileType::file;
  if (S_ISDIR(mode)) return FileType::directory;
  return FileType::other;
}

class RealFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open_read(const std::string& path) override { return open(path, O_RDONLY, "open"); }
  Result<std::unique_ptr<File>> create(const std::string& path) override {
    return open(path, O_RDWR | O_CREAT | O_EXCL, "create");
  }
  Result<std::unique_ptr<File>> open_append(const std::string& path) override {
    return open(path, O_RDWR | O_CREAT | O_APPEND, "open");
  }
  Result<std::unique_ptr<File>> open_update(const std::string& path) override { return open(path, O_RDWR, "open"); }

  Status rename(const std::string& from, const std::string& to) override {
    return check(::rename(from.c_str(), to.c_str()), "rename", from, to);
  }

  Status rename_new(const std::string& from, const std::string& to) override {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno != EINVAL && errno != ENOSYS) return check(-1, "rename", from, to);
    // Not every file system has the flag. A crash between the two leaves both names on the same file.
    MC_TRY(check(::link(from.c_str(), to.c_str()), "link", from, to));
    return remove(from);
  }

  Status remove(const std::string& path) override { return check(::unlink(path.c_str()), "remove", path); }
  Status remove_directory(const std::string& path) override { return check(::rmdir(path.c_str()), "remove", path); }

  Status make_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0777) == 0) return {};
    const int error = errno;
    struct stat st {};
    if (error == EEXIST && ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
    return fail(errno_error(error, "cannot create directory " + quoted(path)));
  }

  Status sync_directory(const std::string& path) override {
    Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) return check(-1, "open", path);
    return check(::fsync(fd.get()), "sync", path);
  }

  Result<std::vector<DirectoryEntry>> list(const std::string& path) override {
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return fail(errno_error(errno, "cannot list " + quoted(path)));
    std::vector<DirectoryEntry> entries;
    int error = 0;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir);
      if (entry == nullptr) {
        error = errno;
        break;
      }
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      FileType type = FileType::other;
      if (entry->d_type == DT_REG) {
        type = FileType::file;
      } else if (entry->d_type == DT_DIR) {
        type = FileType::directory;
      } else if (entry->d_type == DT_UNKNOWN) {
        if (const auto found = info(join_path(path, name)); found) type = found->type;
      }
      entries.push_back({name, type});
    }
    ::closedir(dir);
    if (error != 0) return fail(errno_error(error, "cannot list " + quoted(path)));
    std::ranges::sort(entries, {}, &DirectoryEntry::name);
    return entries;
  }

  Result<FileInfo> info(const std::string& path) override {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) return fail(errno_error(errno, "cannot stat " + quoted(path)));
    return FileInfo{type_of(st.st_mode), static_cast<std::uint64_t>(st.st_size), static_cast<std::uint64_t>(st.st_ino),
                    static_cast<std::int64_t>(st.st_ctim.tv_sec) * 1'000'000'000 + st.st_ctim.tv_nsec};
  }

  Result<SpaceInfo> space(const std::string& path) override {
    struct statvfs sv {};
    if (::statvfs(path.c_str(), &sv) != 0) return fail(errno_error(errno, "cannot stat " + quoted(path)));
    return SpaceInfo{static_cast<std::uint64_t>(sv.f_bavail) * sv.f_frsize,
                     sv.f_files == 0 ? UINT64_MAX : static_cast<std::uint64_t>(sv.f_favail),
                     static_cast<std::uint64_t>(sv.f_blocks) * sv.f_frsize};
  }

 private:
  static Status check(int result, const char* verb, const std::string& path) {
    if (result == 0) return {};
    return fail(errno_error(errno, "cannot " + std::string(verb) + " " + quoted(path)));
  }
  static Status check(int result, const char* verb, const std::string& from, const std::string& to) {
    if (result == 0) return {};
    return fail(errno_error(errno, "cannot " + std::string(verb) + " " + quoted(from) + " to " + quoted(to)));
  }

  static Result<std::unique_ptr<File>> open(const std::string& path, int flags, const char* verb) {
    int fd = -1;
    do {
      fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return fail(errno_error(errno, "cannot " + std::string(verb) + " " + quoted(path)));
    return std::unique_ptr<File>(std::make_unique<RealFile>(Fd(fd), path));
  }
};

}  // namespace

FileSystem& real_file_system() {
  static RealFileSystem fs;
  return fs;
}

std::string parent_path(const std::string& path) {
  const auto end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  const auto slash = path.find_last_of('/', end);
  if (slash == std::string::npos) return ".";
  const auto last = path.find_last_not_of('/', slash);
  return last == std::string::npos ? "/" : path.substr(0, last + 1);
}

std::string absolute_path(const std::string& path) {
  if (path.starts_with('/')) return path;
  char directory[PATH_MAX];
  return ::getcwd(directory, sizeof directory) == nullptr ? path : join_path(directory, path);
}

std::string join_path(const std::string& directory, const std::string& name) {
  if (directory.empty() || directory.back() == '/') return directory + name;
  return directory + "/" + name;
}

Status make_directories(FileSystem& fs, const std::string& path) {
  const std::string parent = parent_path(path);
  if (parent == path) return {};  // the root, or where we are
  const auto found = fs.info(path);
  MC_TRY(make_directories(fs, parent));
  if (!found || found->type != FileType::directory) MC_TRY(fs.make_directory(path));
  Status synced = fs.sync_directory(parent);
  if (!synced && found) {
    constexpr std::array kNotPossible{EACCES, EPERM, EINVAL, EROFS, ENOSYS, ENOTSUP};
    if (std::ranges::find(kNotPossible, synced.error().sys_errno) != kNotPossible.end()) return {};
  }
  return synced;
}

Result<ByteBuffer> read_file(FileSystem& fs, const std::string& path, std::uint64_t limit_bytes) {
  MC_TRY_ASSIGN(const auto file, fs.open_read(path));
  MC_TRY_ASSIGN(const std::uint64_t size, file->size());
  if (size > limit_bytes) {
    return fail(ErrorKind::damaged, quoted(path) + " is too large: " + std::to_string(size) + " bytes");
  }
  ByteBuffer bytes(size);
  MC_TRY_ASSIGN(const std::size_t n, file->read_at(0, bytes));
  bytes.resize(n);
  return bytes;
}

Status stage_file(FileSystem& fs, const std::string& staged, ByteView bytes) {
  if (const auto removed = fs.remove(staged); !removed && removed.error().kind != ErrorKind::not_found) {
    return removed;
  }
  const auto write = [&]() -> Status {
    MC_TRY_ASSIGN(const auto file, fs.create(staged));
    MC_TRY(file->write(bytes));
    MC_TRY_ASSIGN(const std::uint64_t size, file->size());
    if (size != bytes.size()) return fail(ErrorKind::io, quoted(staged) + " has the wrong length after writing");
    MC_TRY(file->sync());
    return file->close();
  };
  Status status = write();
  if (!status) (void)fs.remove(staged);
  return status;
}

Status publish_file(FileSystem& fs, const std::string& staged, const std::string& path) {
  MC_TRY(fs.rename(staged, path));
  return fs.sync_directory(parent_path(path));
}

}  // namespace mc::sys
