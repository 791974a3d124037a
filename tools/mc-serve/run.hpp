// mc-serve: the server of mc-protocol(7) on a store. See mc-serve(1).
#pragma once

#include "cli/main.hpp"

namespace mc::tool_serve {

Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_serve
