#include "upload/file_table.hpp"

#include <utility>

namespace mc::upload {

void FileTable::grow_to(std::size_t count) {
  for (std::size_t i = files_.size(); i < count; ++i) {
    files_.emplace_back();
    pending_.push_back(i);
  }
}

std::size_t FileTable::take() {
  const std::size_t index = pending_.front();
  pending_.pop_front();
  files_[index].state = FileState::sending;
  return index;
}

void FileTable::put_back(std::size_t index) {
  if (files_[index].state != FileState::sending) return;
  files_[index].state = FileState::pending;
  pending_.push_back(index);
}

bool FileTable::put_back_broken(std::size_t index, std::uint64_t held_bytes) {
  Entry& file = files_[index];
  const bool got_further = !std::exchange(file.was_broken, true) || held_bytes > file.held_bytes;
  file.held_bytes = held_bytes;
  if (file.state != FileState::sending) return got_further;
  file.state = FileState::pending;
  pending_.insert(got_further ? pending_.begin() : pending_.end(), index);
  return got_further;
}

void FileTable::forget() {
  pending_.clear();
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].state == FileState::sending) continue;
    files_[i] = {};
    pending_.push_back(i);
  }
}

void FileTable::send_only(const std::vector<bool>& wanted) {
  pending_.clear();
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (!wanted[i]) {
      files_[i].state = FileState::held;
    } else if (files_[i].state != FileState::unusable) {
      files_[i].state = FileState::pending;
      pending_.push_back(i);
    }
  }
}

UploadProgress FileTable::measure(const wire::Manifest& manifest) const {
  UploadProgress progress;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const wire::ManifestFile& file = manifest.files[i];
    const bool held = files_[i].state == FileState::held;
    ++progress.files_known;
    progress.bytes_known += file.bytes();
    if (held) {
      ++progress.files_sent;
      progress.bytes_sent += file.bytes();
    }
    if (!file.chunk) continue;
    ++progress.chunks_known;
    if (held) {
      ++progress.chunks_sent;
    } else {
      progress.lag_s += file.chunk->duration.seconds();
    }
  }
  progress.closed = manifest.end.has_value();
  return progress;
}

}  // namespace mc::upload
