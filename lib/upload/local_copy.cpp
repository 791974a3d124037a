#include "upload/local_copy.hpp"

#include <fmt/format.h>

namespace mc::upload {

void LocalCopy::look_at_sizes(sys::FileSystem& fs, const Which& which, const wire::Manifest& manifest) {
  for (const wire::ManifestFile& file : manifest.files) {
    const std::string path = sys::join_path(which.directory, file.name);
    const auto info = fs.info(path);
    if (!info) {
      note_damaged(which, file.name, info.error().message);
    } else if (info->size_bytes != file.bytes()) {
      note_damaged(which, file.name, fmt::format("'{}' has {} bytes, not {}", path, info->size_bytes, file.bytes()));
    }
  }
}

std::optional<std::size_t> LocalCopy::next_unread() {
  if (unread_.empty()) return std::nullopt;
  const std::size_t index = unread_.front();
  unread_.pop_front();
  return index;
}

void LocalCopy::note_damaged(const Which& which, const std::string& name, const std::string& reason) {
  if (++damaged_ == 1) first_reason_ = reason;
  observer_.damaged(which, name, reason);
}

void LocalCopy::say() const {
  if (damaged_ == 0) return;
  log_(LogLevel::warning, fmt::format("the copy on this disk is damaged, the server's is not: {}{}", first_reason_,
                                      damaged_ > 1 ? fmt::format(", and {} more", damaged_ - 1) : ""));
}

}  // namespace mc::upload
