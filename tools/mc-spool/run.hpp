// mc-spool: write, close, list, recover (mc-spool(1)).
#pragma once

#include "cli/main.hpp"

namespace mc::tool_spool {

Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_spool
