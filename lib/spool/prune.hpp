// Takes a recording off a guest's disk once a server has it (never-lose L9, L20): only with a receipt, signed by a
// pinned key, that is true of the manifest on the disk.
#pragma once

#include <string>
#include <vector>

#include "digest/ed25519.hpp"
#include "sys/file_system.hpp"

namespace mc::spool {

struct PruneVerdict {
  bool removable = false;
  std::string reason;       // why not; or the fingerprint of the receipt's key
  std::uint64_t bytes = 0;  // of all its files
};
// Reads; changes nothing. Kinds of the file system, and damaged for a manifest that cannot be read.
Result<PruneVerdict> may_prune(sys::FileSystem& fs, const std::string& directory,
                               const std::vector<digest::PublicKey>& keys);

// Removes the directory with everything in it. The caller holds its lock and has a verdict. The directory loses its
// name first, in one durable rename to a hidden one, so that a crash leaves a whole recording or none; what is left of
// the hidden one goes with `remove_leftovers`.
Status prune_recording(sys::FileSystem& fs, const std::string& directory);

// Removes what killed runs left in `directory` and up to three levels below it; how many.
Result<std::uint32_t> remove_leftovers(sys::FileSystem& fs, const std::string& directory);

}  // namespace mc::spool
