// mc-spool write: fragmented MP4 on stdin into a recording directory.
#pragma once

#include <cstdint>
#include <string>

#include "cli/main.hpp"

namespace mc::tool_spool {

struct WriteOptions {
  std::string directory;
  std::string recording;            // SESSION/TAKE/GUEST for a new recording; empty: from the directory's name
  std::string events;               // a descriptor's number or unix:PATH; empty: none
  std::uint64_t reserve_bytes = 0;  // 0: as spool::RecorderOptions says
  std::uint64_t warn_bytes = 0;
};
Result<int> write(cli::Invocation& in, const WriteOptions& options);

}  // namespace mc::tool_spool
