// mc-mux: any container on stdin, fragmented MP4 on stdout (mc-mux(1)).
#pragma once

#include "cli/main.hpp"

namespace mc::tool_mux {

Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_mux
