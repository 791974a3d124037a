// mc-direct: a session's director on the command line (mc-direct(1)).
#pragma once

#include "cli/main.hpp"

namespace mc::tool_direct {

Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_direct
