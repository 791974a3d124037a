#include "join/stream.hpp"

#include <algorithm>

#include "base/crc32c.hpp"
#include "digest/sha256.hpp"

namespace mc::join {
namespace {

Error of_file(const PlannedFile& file, Error error) {
  if (error.kind == ErrorKind::not_found)
    return {ErrorKind::damaged, "'" + file.name + "' is missing", error.sys_errno, {}};
  return std::move(error).within("'" + file.name + "'");
}

}  // namespace

Result<std::size_t> Stream::read_at(std::uint64_t offset, std::span<std::uint8_t> into) {
  std::size_t done = 0;
  const auto give = [&](ByteView bytes) {
    const std::size_t n = std::min(bytes.size(), into.size() - done);
    std::copy_n(bytes.begin(), n, into.begin() + static_cast<std::ptrdiff_t>(done));
    done += n;
    offset += n;
  };
  if (offset < plan_.head.size()) give(ByteView(plan_.head).subspan(static_cast<std::size_t>(offset)));
  const auto lies_behind = [](std::uint64_t at, const Range& range) { return at < range.position; };
  auto range = std::upper_bound(plan_.ranges.begin(), plan_.ranges.end(), offset, lies_behind);
  if (range != plan_.ranges.begin()) --range;
  while (done < into.size() && offset < plan_.size_bytes) {
    while (offset >= range->position + range->length) ++range;
    auto bytes = bytes_of(*range, offset);
    if (!bytes) return fail(of_file(plan_.files[range->file], std::move(bytes).error()));
    give(*bytes);
  }
  return done;
}

// What of the range is at hand at this offset of the joined file: at least one byte.
Result<ByteView> Stream::bytes_of(const Range& range, std::uint64_t offset) {
  const std::uint64_t into_range = offset - range.position;
  const std::uint64_t at = range.offset + into_range;
  if (file_ != range.file) MC_TRY(check_file(range.file));
  const auto piece = static_cast<std::size_t>(at / kPieceBytes);
  if (piece_ != piece) MC_TRY(load_piece(range.file, piece));
  const ByteView rest = ByteView(bytes_).subspan(static_cast<std::size_t>(at % kPieceBytes));
  return rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), range.length - into_range)));
}

Status Stream::check_file(std::uint32_t file) {
  const PlannedFile& planned = plan_.files[file];
  file_ = kNone;
  crcs_.clear();
  digest::Sha256 hash;
  const auto pieces = static_cast<std::size_t>((planned.bytes + kPieceBytes - 1) / kPieceBytes);
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    MC_TRY(load_piece(file, piece));
    hash.update(bytes_);
    crcs_.push_back(crc32c(bytes_));
  }
  std::uint8_t beyond = 0;
  MC_TRY_ASSIGN(const std::size_t more, read_(planned.name, planned.bytes, {&beyond, 1}));
  if (more > 0) return fail(ErrorKind::damaged, "is longer than the manifest says");
  if (hash.hex() != planned.sha256) return fail(ErrorKind::damaged, "is not what the manifest says (SHA-256)");
  file_ = file;
  return {};
}

Status Stream::load_piece(std::uint32_t file, std::size_t piece) {
  const PlannedFile& planned = plan_.files[file];
  const std::uint64_t at = std::uint64_t{piece} * kPieceBytes;
  piece_ = kNone;
  bytes_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, planned.bytes - at)));
  MC_TRY_ASSIGN(const std::size_t got, read_(planned.name, at, bytes_));
  if (got != bytes_.size()) return fail(ErrorKind::damaged, "is shorter than the manifest says");
  // Not while it is being hashed.
  if (file_ == file && crc32c(bytes_) != crcs_[piece]) return fail(ErrorKind::damaged, "changed while it was read");
  piece_ = piece;
  return {};
}

}  // namespace mc::join
