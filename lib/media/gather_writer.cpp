#include "media/gather_writer.hpp"

#include <limits.h>
#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "sys/fd.hpp"

namespace mc::media {

ByteBuffer& GatherWriter::tail() {
  if (!tail_open_) parts_.emplace_back();
  tail_open_ = true;
  return parts_.back();
}

void GatherWriter::add(ByteBuffer data) {
  if (data.empty()) return;
  added_bytes_ += data.size();
  parts_.push_back(std::move(data));
  tail_open_ = false;
}

std::uint64_t GatherWriter::bytes() const { return added_bytes_ + (tail_open_ ? parts_.back().size() : 0); }

Status GatherWriter::flush() {
  std::vector<iovec> vectors;
  vectors.reserve(parts_.size());
  for (ByteBuffer& part : parts_) {
    if (!part.empty()) vectors.push_back({part.data(), part.size()});
  }
  if (vectors.empty()) return {};
  if (fd_ < 0) {
    MC_TRY_ASSIGN(fd_, open_());
  }
  std::size_t at = 0;
  while (at < vectors.size()) {
    const auto count = static_cast<int>(std::min<std::size_t>(vectors.size() - at, IOV_MAX));
    ssize_t n = ::writev(fd_, &vectors[at], count);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      pollfd polled{fd_, POLLOUT, 0};
      (void)::poll(&polled, 1, -1);
      continue;
    }
    if (n < 0) return fail(sys::errno_error(errno, "cannot write to " + what_));
    while (n > 0) {
      iovec& vector = vectors[at];
      const auto step = std::min<std::size_t>(vector.iov_len, static_cast<std::size_t>(n));
      vector.iov_base = static_cast<std::uint8_t*>(vector.iov_base) + step;
      vector.iov_len -= step;
      n -= static_cast<ssize_t>(step);
      if (vector.iov_len == 0) ++at;
    }
  }
  parts_.clear();
  added_bytes_ = 0;
  tail_open_ = false;
  return {};
}

}  // namespace mc::media
