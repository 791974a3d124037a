// Where each file of the manifest stands, and which ones are to be sent next. Files are known by their index in
// Manifest::files, which never changes because the manifest only grows. Indices and states, never bytes: a day of
// recording costs a few hundred kilobytes here (never-lose L14).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "upload/uploader.hpp"
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
  void grow_to(std::size_t count);  // new ones are pending
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
  void set(std::size_t index, FileState state) { files_[index].state = state; }
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
      files_[index].state = FileState::held;
      return true;
    });
  }

  UploadProgress measure(const wire::Manifest& manifest) const;

 private:
  struct Entry {
    FileState state = FileState::pending;
    int mismatches = 0;
    bool was_broken = false;
    std::uint64_t held_bytes = 0;
  };
  std::vector<Entry> files_;
  std::deque<std::size_t> pending_;
};

}  // namespace mc::upload
