// mc-serve prune: takes old, Synced recordings out of a store. mc-serve(1) is the contract.
#pragma once

#include <string>
#include <vector>

#include "cli/app.hpp"

namespace mc::tool_serve {

struct PruneArguments {
  std::string store = "file:./data";
  std::string older_than;
  std::vector<std::string> keys;
  bool synced = false;
  bool dry_run = false;
};
CLI::App* add_prune_command(cli::Invocation& in, PruneArguments& arguments);

Result<int> prune(cli::Invocation& in, const PruneArguments& arguments);

}  // namespace mc::tool_serve
