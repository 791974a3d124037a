// mc-spool write: fragmented MP4 on stdin into a recording directory.
#pragma once

#include <string>

#include "cli/main.hpp"

namespace mc::tool_spool {

struct WriteOptions {
  std::string directory;
  std::string recording;  // SESSION/TAKE/GUEST for a new recording; empty: from the directory's name
  std::string events;     // a descriptor's number or unix:PATH; empty: none
};
Result<int> write(cli::Invocation& in, const WriteOptions& options);

}  // namespace mc::tool_spool
