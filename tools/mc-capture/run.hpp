// mc-capture: devices, or a file that plays one, to NUT on stdout (mc-capture(1)).
#pragma once

#include "cli/main.hpp"

namespace mc::tool_capture {

Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_capture
