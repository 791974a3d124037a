// mc-verify: a verdict about a recording. mc-verify(1) is the contract.
#pragma once

#include "cli/main.hpp"

namespace mc::tool_verify {

// kDone: nothing is wrong. kNegative: findings, each named on stdout.
Result<int> run(cli::Invocation& in);

}  // namespace mc::tool_verify
