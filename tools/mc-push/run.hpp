// mc-push: upload with the receipt as the only success. mc-push(1) is the contract.
#pragma once

#include "cli/main.hpp"

namespace mc::tool_push {

// kDone: every recording is Synced. kNegative: an open one was sent as far as it is.
Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_push
