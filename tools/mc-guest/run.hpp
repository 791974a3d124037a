// mc-guest: the agent on a rig, and its supervisors (mc-guest(1)).
#pragma once

#include "cli/main.hpp"

namespace mc::tool_guest {

Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_guest
