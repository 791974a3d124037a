#include "upload/file_table.hpp"

#include <algorithm>
#include <utility>

namespace mc::upload {

UploadProgress& UploadProgress::operator+=(const UploadProgress& other) {
  recordings += other.recordings;
  files_sent += other.files_sent;
  files_known += other.files_known;
  chunks_sent += other.chunks_sent;
  chunks_known += other.chunks_known;
  bytes_sent += other.bytes_sent;
  bytes_known += other.bytes_known;
  bytes_moved += other.bytes_moved;
  lag_s += other.lag_s;
  closed = closed && other.closed;
  return *this;
}

void FileTable::grow_to(const wire::Manifest& manifest) {
  for (std::size_t i = files_.size(); i < manifest.files.size(); ++i) {
    const wire::ManifestFile& listed = manifest.files[i];
    Entry& file = files_.emplace_back();
    file.bytes = listed.bytes();
    file.is_chunk = listed.chunk.has_value();
    if (listed.chunk) file.seconds = static_cast<float>(listed.chunk->duration.seconds());
    pending_.push_back(i);
    ++progress_.files_known;
    progress_.bytes_known += file.bytes;
    progress_.chunks_known += file.is_chunk ? 1 : 0;
    progress_.lag_s += static_cast<double>(file.seconds);
  }
}

// A held file comes (+1) or goes (-1).
void FileTable::count(const Entry& file, int sign) {
  const auto change = [sign](std::uint64_t& sum, std::uint64_t n) { sum = sign > 0 ? sum + n : sum - n; };
  change(progress_.files_sent, 1);
  change(progress_.bytes_sent, file.bytes);
  change(progress_.chunks_sent, file.is_chunk ? 1 : 0);
  progress_.lag_s = std::max(0.0, progress_.lag_s - sign * static_cast<double>(file.seconds));
}

void FileTable::set(std::size_t index, FileState state) {
  Entry& file = files_[index];
  if (file.state == FileState::held && state != FileState::held) count(file, -1);
  if (file.state != FileState::held && state == FileState::held) count(file, +1);
  file.state = state;
}

std::size_t FileTable::take() {
  const std::size_t index = pending_.front();
  pending_.pop_front();
  set(index, FileState::sending);
  return index;
}

void FileTable::put_back(std::size_t index) {
  if (files_[index].state != FileState::sending) return;
  set(index, FileState::pending);
  pending_.push_back(index);
}

bool FileTable::put_back_broken(std::size_t index, std::uint64_t held_bytes) {
  Entry& file = files_[index];
  const bool got_further = !std::exchange(file.was_broken, true) || held_bytes > file.held_bytes;
  file.held_bytes = held_bytes;
  if (file.state != FileState::sending) return got_further;
  set(index, FileState::pending);
  pending_.insert(got_further ? pending_.begin() : pending_.end(), index);
  return got_further;
}

void FileTable::forget() {
  pending_.clear();
  for (std::size_t i = 0; i < files_.size(); ++i) {
    Entry& file = files_[i];
    if (file.state == FileState::sending) continue;
    set(i, FileState::pending);
    file.mismatches = 0;
    file.was_broken = false;
    file.held_bytes = 0;
    pending_.push_back(i);
  }
}

void FileTable::send_only(const std::vector<bool>& wanted) {
  pending_.clear();
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (!wanted[i]) {
      set(i, FileState::held);
    } else if (files_[i].state != FileState::unusable) {
      set(i, FileState::pending);
      pending_.push_back(i);
    }
  }
}

}  // namespace mc::upload
