// The supervisor of one take on a rig (`mc-guest supervise DIR`): sees to it that its orders are carried out until the
// server's receipt lies on the disk, whatever dies meanwhile.
//
//   agent → supervisor   {"command":"record","session_id":…,"take":…,"t0":…,"offset_us":…,"bound_us":…}
//                        {"command":"clock","offset_us":…,"bound_us":…}     for the next start of the capture
//                        {"command":"stop","take":…,"t1":…}                 without a take: end, if it is in standby
//   supervisor → agent   {"event":"status", …}   once a second, and as the answer to each command: a telemetry
//                        (mc-session(7)) of this take, with "stopped", "capturing" (the devices are taken) and "pids"
//
// An order is durable before it is obeyed and before it is answered. The same order again is answered as the first
// was; another take is refused by a status that says which one it is.
//
// After a crash at any step: the order on the disk says what is to be done; the pipeline, if it lives, goes on and is
// taken over; else it is started and the recording continued, with a gap in its ledger. Closing and uploading begin
// anew and find what is done. One supervisor a directory: a second one ends with 75.
//
// It ends when everything is Synced, and when nothing was recorded at all (the order says why). In standby also when it
// is told to stop, by stop_fd, or when no agent has been there for 30 seconds; a take that is not Synced is seen
// through whatever happens to them.
#pragma once

#include <string>

#include "base/error.hpp"
#include "base/log.hpp"
#include "sys/file_system.hpp"

namespace mc::rig {

struct SupervisorOptions {
  std::string directory;
  int stop_fd = -1;
  Log log = no_log();
};

// Kinds: damaged (the order), unavailable (another one is there), io.
Status supervise(sys::FileSystem& fs, const SupervisorOptions& options);

}  // namespace mc::rig
