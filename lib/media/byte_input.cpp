#include "media/byte_input.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.hpp"
#include "sys/fd.hpp"

namespace mc::media {

ByteInput::ByteInput(int fd, std::string what, int stop_fd, BeforeRead before_read)
    : fd_(fd), what_(std::move(what)), stop_fd_(stop_fd), before_read_(std::move(before_read)) {
  struct stat info {};
  seekable_ = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

Result<std::size_t> ByteInput::read(std::span<std::uint8_t> into) {
  if (at_end_ || into.empty()) return std::size_t{0};
  if (given_back_at_ < given_back_.size()) {
    const std::size_t n = std::min(into.size(), given_back_.size() - given_back_at_);
    std::memcpy(into.data(), given_back_.data() + given_back_at_, n);
    given_back_at_ += n;
    if (given_back_at_ == given_back_.size()) given_back_ = {};
    return n;
  }
  for (bool nothing_came = false;; nothing_came = true) {
    int timeout_ms = -1;
    if (before_read_) {
      MC_TRY_ASSIGN(timeout_ms, before_read_(nothing_came));
    }
    MC_TRY_ASSIGN(const bool ready, wait(timeout_ms));
    if (at_end_) return std::size_t{0};
    if (!ready) continue;
    MC_TRY_ASSIGN(const std::size_t n, sys::read_some(fd_, into, -1, what_));
    at_end_ = n == 0;
    return n;
  }
}

Result<bool> ByteInput::wait(int timeout_ms) {
  // A file is always ready; asking costs a system call for every read.
  if (seekable_ && stop_fd_ < 0) return true;
  if (stopped_at_ns_ >= 0) {
    const std::int64_t left_ns = stopped_at_ns_ + kDrainNs - system_clock().monotonic_ns();
    const auto quiet_ms =
        static_cast<int>(std::clamp<std::int64_t>(std::min(left_ns, kQuietNs), 0, kQuietNs) / 1'000'000);
    MC_TRY_ASSIGN(const bool ready, sys::wait_readable(fd_, quiet_ms));
    at_end_ = cut_off_ = !ready || left_ns <= 0;
    return ready;
  }
  pollfd polled[2] = {{fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
  const int n = ::poll(polled, stop_fd_ >= 0 ? 2 : 1, timeout_ms);
  if (n < 0 && errno != EINTR) return fail(sys::errno_error(errno, "cannot wait for " + what_));
  if (n > 0 && polled[1].revents != 0) stopped_at_ns_ = system_clock().monotonic_ns();
  return n > 0 && polled[0].revents != 0;
}

void ByteInput::unread(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint8_t> all(bytes.begin(), bytes.end());
  all.insert(all.end(), given_back_.begin() + static_cast<std::ptrdiff_t>(given_back_at_), given_back_.end());
  given_back_ = std::move(all);
  given_back_at_ = 0;
  at_end_ = false;
}

Result<std::int64_t> ByteInput::seek(std::int64_t offset, int whence) {
  given_back_ = {};
  given_back_at_ = 0;
  const off_t position = ::lseek(fd_, offset, whence);
  if (position < 0) return fail(sys::errno_error(errno, "cannot seek in " + what_));
  at_end_ = false;
  return position;
}

Result<std::int64_t> ByteInput::size() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return fail(sys::errno_error(errno, "cannot look at " + what_));
  return info.st_size;
}

}  // namespace mc::media
