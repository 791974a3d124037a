// Pinned public keys, as a person hands them over: files with PEM, like the one that GET /v1/key gives.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "digest/ed25519.hpp"
#include "sys/file_system.hpp"

namespace mc::spool {

// Kind config: a file that is no public key; else what the file system says.
Result<std::vector<digest::PublicKey>> read_key_files(sys::FileSystem& fs, const std::vector<std::string>& paths);

}  // namespace mc::spool
