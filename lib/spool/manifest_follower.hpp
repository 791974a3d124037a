// A manifest that somebody else is writing, read as it grows: each look costs what was added, not what is there.
//
//   ManifestFollower follower(fs, directory);
//   MC_TRY_ASSIGN(const bool grew, follower.look());     // again and again
//   follower.manifest() …                                // only what is committed
//   … manifest().end …
//   MC_TRY_ASSIGN(auto whole, follower.load_whole());    // once: the bytes, for whoever sends or signs them
//
// What was committed must stay: a manifest that becomes shorter than that, or is another file with other bytes, is
// damage at once; one that was changed in the middle is found by load_whole(), which compares the hash of everything
// with the hash of what was read.
//
// Memory: the parsed lines, about 250 bytes a chunk; the bytes themselves are not kept. One thread.
//
// Error kinds: not_found (no manifest), damaged (it changed where it was already written), those of the file system.
#pragma once

#include <optional>
#include <string>

#include "digest/sha256.hpp"
#include "spool/recording.hpp"
#include "sys/file_system.hpp"

namespace mc::spool {

class ManifestFollower {
 public:
  ManifestFollower(sys::FileSystem& fs, const std::string& directory);

  // Reads what was added since the last look. Whether there was anything.
  Result<bool> look();
  const wire::Manifest& manifest() const { return reader_.manifest(); }
  // The file as it was when it was looked at last; to know whether it is still the same one.
  const sys::FileInfo& info() const { return info_; }

  Result<LoadedManifest> load_whole() const;

 private:
  Status check_beginning(sys::File& file) const;

  sys::FileSystem& fs_;
  std::string directory_;
  std::string path_;
  sys::FileInfo info_;
  wire::ManifestReader reader_;
  digest::Sha256 hash_;  // of the committed bytes
};

// Whether the manifest in `directory` has its end line, from its last bytes: for whoever wants to know before reading
// it. Not to be believed beyond that.
bool looks_closed(sys::FileSystem& fs, const std::string& directory);

}  // namespace mc::spool
