// Gathers what is to be written to a descriptor, so that many small pieces are one writev(2). It never waits for more:
// whoever reads the input flushes before each read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace mc::media {

class GatherWriter {
 public:
  static constexpr std::uint64_t kFlushBytes = 1U << 20;

  // `open` gives the descriptor when there is something to write, so that nothing is created in vain; `what` names it
  // in messages. The descriptor stays the caller's.
  using Open = std::function<Result<int>()>;
  GatherWriter(Open open, std::string what) : open_(std::move(open)), what_(std::move(what)) {}

  ByteBuffer& tail();         // small pieces are appended here; valid until the next call of anything
  void add(ByteBuffer data);  // a large piece, without a copy
  bool is_full() const { return bytes() >= kFlushBytes; }
  // Everything, through short writes and EINTR; waits when the descriptor is not ready. Kind io; a reader that went
  // away is io with EPIPE.
  Status flush();

 private:
  std::uint64_t bytes() const;

  Open open_;
  int fd_ = -1;
  std::string what_;
  std::vector<ByteBuffer> parts_;
  std::uint64_t added_bytes_ = 0;
  bool tail_open_ = false;
};

}  // namespace mc::media
