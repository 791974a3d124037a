// Where each file of the manifest stands, and which ones are to be sent next. Files are known by their index in
// Manifest::files, which never changes because the manifest only grows. Indices, states and sizes, never bytes: a day
// of recording costs three megabytes here (never-lose L14). What is done per file, per change or per look at the
// progress does not depend on how many there are.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "upload/observer.hpp"
#include "wire/manifest.hpp"

namespace mc::upload {

enum class FileState : std::uint8_t {
  pending,   // to be sent, and in the queue
  sending,   // a job has it
  held,      // the server said so
  unusable,  // the local file is not what the manifest lists: never sent
  conflict,  // the server holds other bytes; its audit decides
};

class FileTable {
 public:
  void grow_to(const wire::Manifest& manifest);  // new ones are pending
  std::size_t size() const { return files_.size(); }
  FileState state(std::size_t index) const { return files_[index].state; }

  bool has_pending() const { return !pending_.empty(); }
  std::size_t take();                // the first pending one, now sending
  void put_back(std::size_t index);  // sending → pending, at the end
  // The same for one whose transfer broke off when `held_bytes` of it were there already (0: unknown). Returns whether
  // the try before this one got it any further: then it goes to the front, for the server does not keep many parts for
  // long; otherwise to the end, so that no file is in all others' way.
  bool put_back_broken(std::size_t index, std::uint64_t held_bytes);
  bool was_broken(std::size_t index) const { return files_[index].was_broken; }
  void set(std::size_t index, FileState state);  // held, unusable or conflict
  // This run has read it, and knows what is on the disk.
  void note_read(std::size_t index) { files_[index].was_read = true; }
  bool was_read(std::size_t index) const { return files_[index].was_read; }
  int count_mismatch(std::size_t index) { return ++files_[index].mismatches; }

  // Every file that is not on its way becomes pending again, whatever was known of it.
  void forget();
  // Exactly the `wanted` ones are pending, unless they are unusable; the others are held. Nothing is on its way.
  void send_only(const std::vector<bool>& wanted);
  // Pending ones for which `is_held(index)` are held.
  template <class IsHeld>
  void mark_held(IsHeld is_held) {
    std::erase_if(pending_, [&](std::size_t index) {
      if (!is_held(index)) return false;
      set(index, FileState::held);
      return true;
    });
  }

  const UploadProgress& progress() const { return progress_; }

 private:
  struct Entry {
    std::uint64_t bytes = 0;
    std::uint64_t held_bytes = 0;  // of a broken transfer
    float seconds = 0;
    std::int16_t mismatches = 0;
    FileState state = FileState::pending;
    bool is_chunk = false;
    bool was_broken = false;
    bool was_read = false;
  };
  void count(const Entry& file, int sign);

  std::vector<Entry> files_;
  std::deque<std::size_t> pending_;
  UploadProgress progress_;
};

}  // namespace mc::upload
