// Where a joined file goes: a path, which holds the old file or nothing until the new one is complete and durable, or
// something that only takes bytes in order (stdout, a FIFO, a device).
//
//   MC_TRY_ASSIGN(auto out, Output::open(path));
//   MC_TRY(out.reserve(plan.size_bytes));
//   …write through out.fd(): pwrite(2) anywhere when out.is_staged(), else write(2) in order…
//   MC_TRY(out.commit());
//
// Staged: an unnamed file of the target's directory (O_TMPFILE), or where the file system has none a hidden one beside
// the target. Killed before commit, nothing is left (or the hidden file, which is nobody's); commit syncs the file,
// renames it over the target and syncs the directory. The destructor never commits.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "sys/fd.hpp"

namespace mc::join {

class Output {
 public:
  // "-" is stdout. A path that exists and is no regular file (a device, a FIFO) is written to as it is.
  // Kinds: no_space (cannot create), permission.
  static Result<Output> open(const std::string& path);
  Output(Output&& other) noexcept;
  Output& operator=(Output&&) = delete;
  ~Output();

  int fd() const { return fd_; }
  bool is_staged() const { return staged_; }
  const std::string& name() const { return name_; }  // for messages

  // Takes the room now, so that a full disk is known at the start. Nothing to do unless staged. Kind: no_space.
  Status reserve(std::uint64_t bytes);
  Status commit();

 private:
  Output() = default;

  sys::Fd owned_;
  int fd_ = -1;
  bool staged_ = false;
  std::string name_;
  std::string target_;  // staged: what the file will be called, symbolic links resolved
  std::string hidden_;  // its name until then; empty while it has none
};

}  // namespace mc::join
