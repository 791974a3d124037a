// mc-join: one .mp4 or .m4a out of a recording (mc-join(1)).
#pragma once

#include "cli/main.hpp"

namespace mc::tool_join {

Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_join
