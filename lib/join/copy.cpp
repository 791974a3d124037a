#include "join/copy.hpp"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "digest/sha256.hpp"
#include "mp4/stream_parser.hpp"
#include "sys/fd.hpp"

namespace mc::join {
namespace {

// Read and hashed piece by piece, so that a piece is still in the processor's nearest cache when it is hashed.
constexpr std::size_t kPieceBytes = 128 * 1024;
constexpr int kMaxThreads = 4;
constexpr int kProgressMs = 100;
// Written back while the copy goes on, so that the fsync at the end is short.
constexpr std::uint64_t kWriteBackBytes = 64U << 20;

Status write_at(int fd, ByteView bytes, std::uint64_t position, const std::string& what) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(sys::errno_error(errno, what));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    position += static_cast<std::uint64_t>(n);
  }
  return {};
}

class Copier {
 public:
  Copier(const Plan& plan, const std::string& directory, int fd, const std::string& output_name,
         const CopyOptions& options)
      : plan_(plan), directory_(directory), fd_(fd), what_("cannot write '" + output_name + "'"), options_(options) {}

  Status run() {
    struct stat st {};
    if (::fstat(fd_, &st) != 0) return fail(sys::errno_error(errno, what_));
    output_ = st;
    MC_TRY(not_stopped());
    MC_TRY(write(plan_.head, 0));
    done_bytes_ = plan_.head.size();

    int threads = options_.threads > 0 ? options_.threads : static_cast<int>(std::thread::hardware_concurrency());
    threads = std::clamp(threads, 1, kMaxThreads);
    if (options_.verify == Verify::nothing) threads = 1;  // nothing but copying, which the kernel does
    std::vector<std::thread> workers;
    for (int i = 0; i < threads; ++i) workers.emplace_back([this] { work(); });
    watch();
    for (std::thread& worker : workers) worker.join();
    if (error_) return fail(std::move(*error_));
    return {};
  }

 private:
  // The caller's thread: shows how far it is and looks for the wish to stop, until the workers are done.
  void watch() {
    std::unique_lock lock(mutex_);
    while (finished_ < plan_.files.size() && !error_) {
      changed_.wait_for(lock, std::chrono::milliseconds(kProgressMs));
      lock.unlock();
      if (options_.progress) options_.progress(done_bytes_, plan_.size_bytes);
      if (auto going = not_stopped(); !going) set_error(plan_.files.size(), std::move(going).error());
      lock.lock();
    }
  }

  Status not_stopped() const {
    if (options_.stop_fd < 0) return {};
    MC_TRY_ASSIGN(const bool stopped, sys::wait_readable(options_.stop_fd, 0));
    if (stopped) return fail(ErrorKind::unavailable, "stopped by a signal", EINTR);
    return {};
  }

  void work() {
    ByteBuffer buffer;
    while (!failed_) {
      const std::size_t index = next_++;
      if (index >= plan_.files.size()) return;
      prefetch(index + kMaxThreads);
      if (auto copied = copy_file(index, buffer); !copied) {
        Error error = std::move(copied).error();
        if (error.kind == ErrorKind::not_found) {
          error = {ErrorKind::damaged, "'" + plan_.files[index].name + "' is missing", error.sys_errno, {}};
        }
        set_error(index, std::move(error));
        return;
      }
      const std::lock_guard lock(mutex_);
      if (++finished_ == plan_.files.size()) changed_.notify_all();
    }
  }

  // Of several errors the one that comes first in the recording is told.
  void set_error(std::size_t index, Error error) {
    const std::lock_guard lock(mutex_);
    if (!error_ || index < error_index_) {
      error_ = std::move(error);
      error_index_ = index;
    }
    failed_ = true;
    changed_.notify_all();
  }

  std::string path(std::size_t index) const { return sys::join_path(directory_, plan_.files[index].name); }

  Result<sys::Fd> open(std::size_t index) const {
    sys::Fd file(::open(path(index).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return fail(sys::errno_error(errno, "cannot open '" + path(index) + "'"));
    struct stat st {};
    if (::fstat(file.get(), &st) != 0) return fail(sys::errno_error(errno, "cannot stat '" + path(index) + "'"));
    if (st.st_dev == output_.st_dev && st.st_ino == output_.st_ino) {
      return fail(ErrorKind::usage, "'" + path(index) + "' is both input and output");
    }
    const PlannedFile& planned = plan_.files[index];
    if (static_cast<std::uint64_t>(st.st_size) != planned.bytes) {
      return fail(ErrorKind::damaged, "'" + planned.name + "' has " + std::to_string(st.st_size) +
                                          " bytes instead of " + std::to_string(planned.bytes));
    }
    return file;
  }

  void prefetch(std::size_t index) const {
    if (index >= plan_.files.size()) return;
    const sys::Fd file(::open(path(index).c_str(), O_RDONLY | O_CLOEXEC));
    if (file.valid()) ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_WILLNEED);
  }

  std::span<const Range> ranges_of(std::size_t index) const {
    const auto before = [](const Range& range, std::size_t file) { return range.file < file; };
    const auto first = std::lower_bound(plan_.ranges.begin(), plan_.ranges.end(), index, before);
    const auto last = std::lower_bound(first, plan_.ranges.end(), index + 1, before);
    return {first, last};
  }

  Status copy_file(std::size_t index, ByteBuffer& buffer) {
    MC_TRY_ASSIGN(const sys::Fd file, open(index));
    if (options_.verify == Verify::nothing) {
      for (const Range& range : ranges_of(index)) MC_TRY(copy_range(file.get(), range, index, buffer));
      return {};
    }
    MC_TRY(read_and_check(file.get(), index, buffer));
    if (options_.placement == Placement::in_order) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return turn_ == index || failed_; });
      if (failed_) return {};
    }
    for (const Range& range : ranges_of(index)) {
      MC_TRY(write(
          ByteView(buffer).subspan(static_cast<std::size_t>(range.offset), static_cast<std::size_t>(range.length)),
          range.position));
      done_bytes_ += range.length;
    }
    if (options_.placement == Placement::in_order) {
      const std::lock_guard lock(mutex_);
      ++turn_;
      changed_.notify_all();
    } else {
      write_back();
    }
    return {};
  }

  Status read_and_check(int file, std::size_t index, ByteBuffer& buffer) const {
    const PlannedFile& planned = plan_.files[index];
    if (planned.bytes > mp4::kMaxFragmentBytes) return fail(ErrorKind::damaged, "'" + planned.name + "' is too large");
    if (buffer.size() < planned.bytes) buffer.resize(static_cast<std::size_t>(planned.bytes));
    const std::span<std::uint8_t> whole = std::span(buffer).first(static_cast<std::size_t>(planned.bytes));
    digest::Sha256 hash;
    std::size_t done = 0;
    while (done < whole.size()) {
      const auto piece = whole.subspan(done, std::min(kPieceBytes, whole.size() - done));
      const ssize_t n = ::pread(file, piece.data(), piece.size(), static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(sys::errno_error(errno, "cannot read '" + path(index) + "'"));
      if (n == 0) return fail(ErrorKind::damaged, "'" + planned.name + "' became shorter while it was read");
      hash.update(piece.first(static_cast<std::size_t>(n)));
      done += static_cast<std::size_t>(n);
    }
    if (hash.hex() != planned.sha256) {
      return fail(Error{ErrorKind::damaged, "'" + planned.name + "' is damaged: its SHA-256 is not the manifest's", 0,
                        "mc-verify lists all that is wrong; another copy of the recording may be whole"});
    }
    return {};
  }

  Status write(ByteView bytes, std::uint64_t position) const {
    if (options_.placement == Placement::anywhere) return write_at(fd_, bytes, position, what_);
    return sys::write_all(fd_, bytes, what_);
  }

  // Unverified: the bytes do not pass through here where the kernel can move them.
  Status copy_range(int file, const Range& range, std::size_t index, ByteBuffer& buffer) {
    auto from = static_cast<off_t>(range.offset);
    auto to = static_cast<off_t>(range.position);
    std::uint64_t left = range.length;
    while (left > 0 && kernel_copies_) {
      const ssize_t n = options_.placement == Placement::anywhere
                            ? ::copy_file_range(file, &from, fd_, &to, static_cast<std::size_t>(left), 0)
                            : ::sendfile(fd_, file, &from, static_cast<std::size_t>(left));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == EBADF)) {
        kernel_copies_ = false;
        break;
      }
      if (n < 0) return fail(sys::errno_error(errno, what_));
      if (n == 0) break;
      left -= static_cast<std::uint64_t>(n);
      done_bytes_ += static_cast<std::uint64_t>(n);
    }
    if (buffer.empty()) buffer.resize(8 * kPieceBytes);
    while (left > 0) {
      const std::size_t want = std::min<std::uint64_t>(left, buffer.size());
      const ssize_t n = ::pread(file, buffer.data(), want, from);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(sys::errno_error(errno, "cannot read '" + path(index) + "'"));
      if (n == 0) return fail(ErrorKind::damaged, "'" + plan_.files[index].name + "' became shorter while it was read");
      MC_TRY(write(ByteView(buffer).first(static_cast<std::size_t>(n)), static_cast<std::uint64_t>(to)));
      from += n;
      to += n;
      left -= static_cast<std::uint64_t>(n);
      done_bytes_ += static_cast<std::uint64_t>(n);
    }
    if (options_.placement == Placement::anywhere) write_back();
    return {};
  }

  void write_back() {
    const std::uint64_t now = done_bytes_ / kWriteBackBytes;
    std::uint64_t before = written_back_;
    if (now > before && written_back_.compare_exchange_strong(before, now)) {
      ::sync_file_range(fd_, static_cast<off_t>(before * kWriteBackBytes),
                        static_cast<off_t>((now - before) * kWriteBackBytes), SYNC_FILE_RANGE_WRITE);
    }
  }

  const Plan& plan_;
  const std::string directory_;
  const int fd_;
  const std::string what_;
  const CopyOptions& options_;
  struct stat output_ {};

  std::atomic<std::size_t> next_ = 0;  // the first chunk that no thread has taken
  std::atomic<std::uint64_t> done_bytes_ = 0;
  std::atomic<std::uint64_t> written_back_ = 0;  // in units of kWriteBackBytes
  std::atomic<bool> failed_ = false;
  bool kernel_copies_ = true;  // one thread only

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t finished_ = 0;
  std::size_t turn_ = 0;  // in order: the chunk that may be written
  std::optional<Error> error_;
  std::size_t error_index_ = 0;
};

}  // namespace

Status copy_plan(const Plan& plan, const std::string& directory, int fd, const std::string& output_name,
                 const CopyOptions& options) {
  return Copier(plan, directory, fd, output_name, options).run();
}

}  // namespace mc::join
