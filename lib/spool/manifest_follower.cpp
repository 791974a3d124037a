#include "spool/manifest_follower.hpp"

#include <algorithm>

namespace mc::spool {
namespace {

constexpr std::size_t kPieceBytes = 1U << 20;
constexpr std::uint64_t kTailBytes = 256;  // more than an end line has

Result<ByteBuffer> read_from(sys::File& file, std::uint64_t offset, std::uint64_t limit_bytes) {
  MC_TRY_ASSIGN(const std::uint64_t size, file.size());
  ByteBuffer bytes(static_cast<std::size_t>(std::min(limit_bytes, size - std::min(size, offset))));
  MC_TRY_ASSIGN(const std::size_t n, file.read_at(offset, bytes));
  bytes.resize(n);
  return bytes;
}

}  // namespace

ManifestFollower::ManifestFollower(sys::FileSystem& fs, const std::string& directory)
    : fs_(fs), directory_(directory), path_(sys::join_path(directory, wire::kManifestName)) {}

Result<bool> ManifestFollower::look() {
  MC_TRY_ASSIGN(const sys::FileInfo now, fs_.info(path_));
  if (now.inode == info_.inode && now.size_bytes == info_.size_bytes && now.changed_ns == info_.changed_ns) {
    return false;
  }
  if (now.size_bytes > kMaxManifestBytes) return fail(ErrorKind::damaged, "'" + path_ + "' is too large");
  MC_TRY_ASSIGN(const auto file, fs_.open_read(path_));
  const std::uint64_t committed = manifest().intact_bytes;
  const bool is_another = info_.inode != 0 && now.inode != info_.inode;
  if (now.size_bytes < committed || is_another) MC_TRY(check_beginning(*file));
  MC_TRY_ASSIGN(const ByteBuffer more, read_from(*file, committed, kMaxManifestBytes));
  reader_.read(more);
  hash_.update(ByteView(more).first(static_cast<std::size_t>(manifest().intact_bytes - committed)));
  info_ = now;
  return true;
}

Status ManifestFollower::check_beginning(sys::File& file) const {
  digest::Sha256 hash;
  const std::uint64_t committed = manifest().intact_bytes;
  for (std::uint64_t offset = 0; offset < committed;) {
    MC_TRY_ASSIGN(const ByteBuffer piece,
                  read_from(file, offset, std::min<std::uint64_t>(kPieceBytes, committed - offset)));
    if (piece.empty()) break;
    hash.update(piece);
    offset += piece.size();
  }
  if (hash.value() == hash_.value()) return {};
  return fail(ErrorKind::damaged, "the manifest of '" + directory_ + "' changed where it was already written");
}

Result<LoadedManifest> ManifestFollower::load_whole() const {
  MC_TRY_ASSIGN(LoadedManifest whole, load_manifest(fs_, directory_));
  const auto committed = static_cast<std::size_t>(manifest().intact_bytes);
  if (whole.bytes.size() < committed || digest::sha256(ByteView(whole.bytes).first(committed)) != hash_.value()) {
    return fail(ErrorKind::damaged, "the manifest of '" + directory_ + "' changed where it was already written");
  }
  return whole;
}

bool looks_closed(sys::FileSystem& fs, const std::string& directory) {
  const auto file = fs.open_read(sys::join_path(directory, wire::kManifestName));
  if (!file) return false;
  const auto size = (*file)->size();
  if (!size) return false;
  const auto tail = read_from(**file, *size - std::min(*size, kTailBytes), kTailBytes);
  if (!tail) return false;
  const std::string_view text = as_text(*tail);
  if (!text.ends_with('\n')) return false;
  const auto last = text.rfind('\n', text.size() - 2);
  return text.substr(last == std::string_view::npos ? 0 : last + 1).starts_with("# end ");
}

}  // namespace mc::spool
