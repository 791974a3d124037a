// mc-spool prune: recordings that a server has, off this disk.
#pragma once

#include <string>
#include <vector>

#include "cli/main.hpp"

namespace mc::tool_spool {

struct PruneOptions {
  std::string directory;          // a recording, or a spool with recordings in it
  std::vector<std::string> keys;  // files with pinned public keys
  bool dry_run = false;
};
Result<int> prune(cli::Invocation& in, const PruneOptions& options);

}  // namespace mc::tool_spool
