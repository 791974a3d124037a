// Any part of a joined file, from the recording's files, without the joined file being anywhere: what a server answers
// a download from.
//
//   join::Stream stream(plan, reader);
//   stream.read_at(offset, into) …          // any offset; cheap by rising offset
//
// The first byte of a chunk is given when the whole chunk has been read and has the manifest's SHA-256. What is then
// given is read again, piece by piece, and each piece is compared with what was hashed: so no byte comes out that is
// not proven, whoever writes into the files meanwhile, and memory is one piece, however long a chunk is.
//
// Whether the head is right the plan's maker must know: it was made from heads of chunks that nobody compares here.
// The plan outlives the stream. Not for two threads at once.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "join/plan.hpp"

namespace mc::join {

class Stream {
 public:
  Stream(const Plan& plan, Reader read) : plan_(plan), read_(std::move(read)) {}

  // Up to into.size() bytes; fewer only at the end. Kind damaged, naming the file: a chunk is missing, or is not what
  // the manifest lists; then nothing of `into` is to be used.
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into);

 private:
  static constexpr std::size_t kPieceBytes = 256 * 1024;
  static constexpr std::size_t kNone = SIZE_MAX;

  Result<ByteView> bytes_of(const Range& range, std::uint64_t offset);
  Status check_file(std::uint32_t file);
  Status load_piece(std::uint32_t file, std::size_t piece);

  const Plan& plan_;
  Reader read_;
  std::size_t file_ = kNone;         // whose hash was compared
  std::vector<std::uint32_t> crcs_;  // of its pieces
  std::size_t piece_ = kNone;        // that lies in bytes_
  ByteBuffer bytes_;
};

}  // namespace mc::join
