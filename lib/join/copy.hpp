// Copies a plan out of a recording directory: each chunk is read once, hashed as a whole and compared with the manifest
// before one byte of it is written.
//
// Several threads, each with a chunk of its own: hashing is what takes the time. Into a staged file every thread writes
// its ranges where the plan puts them; into a pipe they take turns. Memory: one chunk a thread (at most
// mp4::kMaxFragmentBytes each).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.hpp"
#include "join/plan.hpp"

namespace mc::join {

enum class Verify : std::uint8_t { hashes, nothing };
enum class Placement : std::uint8_t { anywhere, in_order };  // what the output's descriptor can do

struct CopyOptions {
  Verify verify = Verify::hashes;
  Placement placement = Placement::in_order;
  int threads = 0;                                                        // 0: one a processor, at most 4
  int stop_fd = -1;                                                       // readable: give up
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes; called by the caller's thread
};

// All of the plan to `fd`, or an error and some of it. Kinds: damaged (a chunk, named, is missing, has another length
// or another hash; or the output is one of the recording's files), unavailable with EINTR (stopped), io, no_space.
Status copy_plan(const Plan& plan, const std::string& directory, int fd, const std::string& output_name,
                 const CopyOptions& options);

}  // namespace mc::join
