// What a tool's main.cpp needs of this module, without the command-line library behind it: that is compiled once, where
// the options are declared (app.hpp).
#pragma once

#include "base/error.hpp"

namespace mc::cli {

class Invocation;

// The tool proper: declares its options on the invocation, parses, works. The exit code, or an Error that becomes one.
using Run = Result<int> (*)(Invocation&);

// Catches everything; returns the process's exit code.
int run_main(const char* tool, const char* description, int argc, char** argv, Run run);

}  // namespace mc::cli
