// Bytes from a descriptor, for readers that must neither delay output nor hang on a stop.
//
// Before every read(2) the owner's hook runs: there it writes out what it has gathered, so that nothing waits while the
// input is silent, and says when it wants to be called again. When the descriptor `stop_fd` becomes readable the input
// is drained: whoever writes into it got the same signal and is still writing its last frames. It ends at its end of
// file, when nothing has come for kQuiet, or after kDrain.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace mc::media {

// How many milliseconds reading may wait before the hook is called again; negative: until something comes.
// `nothing_came`: it waited so long as it was last told, and there was nothing to read.
using BeforeRead = std::function<Result<int>(bool nothing_came)>;

class ByteInput {
 public:
  static constexpr std::int64_t kQuietNs = 1'000'000'000;
  static constexpr std::int64_t kDrainNs = 3'000'000'000;

  // `fd` is borrowed. `what` names it in messages ("stdin", "'x.mkv'"). `stop_fd` may be -1, `before_read` empty.
  ByteInput(int fd, std::string what, int stop_fd, BeforeRead before_read);

  // At least one byte, or 0 at the end. Kinds: io, and what the hook fails with.
  Result<std::size_t> read(std::span<std::uint8_t> into);
  // Gives `bytes` back, to be read again first.
  void unread(std::span<const std::uint8_t> bytes);

  bool at_end() const { return at_end_; }
  bool cut_off() const { return cut_off_; }  // ended by the stop, not by its end of file
  bool seekable() const { return seekable_; }
  // Only for seekable input. The new position.
  Result<std::int64_t> seek(std::int64_t offset, int whence);
  Result<std::int64_t> size() const;
  const std::string& what() const { return what_; }

 private:
  Result<bool> wait(int timeout_ms);  // false: the input is over because of a stop

  int fd_;
  std::string what_;
  int stop_fd_;
  BeforeRead before_read_;
  std::vector<std::uint8_t> given_back_;
  std::size_t given_back_at_ = 0;
  std::int64_t stopped_at_ns_ = -1;
  bool at_end_ = false;
  bool cut_off_ = false;
  bool seekable_ = false;
};

}  // namespace mc::media
