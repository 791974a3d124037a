// The agent on a rig: what `mc-guest` is. Hears what is decided in the session, and has a supervisor do it.
//
// The session's view is a level: whenever one comes, each take of it is held against the supervisors that there are.
//   a take is recording, and this guest is in it    a supervisor is to record it: the one in standby, or a new one
//   a take is not recording any more                its supervisor is to stop at T1
// Nothing else stops a supervisor: no silence, no error, no end of the agent. Beside that one supervisor is in standby,
// with the devices open, whenever none has them. What the supervisors say becomes the rig's telemetry.
//
// Supervisors of an agent that died are found by their directories and taken over; those in standby are ended, since
// this one may have been told of other devices.
//
// Error kinds: unavailable (another agent runs for this guest; made to end before everything is Synced), those of
// find_identity.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "sys/file_system.hpp"
#include "wire/join_url.hpp"
#include "wire/session_view.hpp"

namespace mc::rig {

struct AgentOptions {
  wire::JoinUrl url;
  std::string spool;
  std::vector<std::string> capture;  // arguments of mc-capture
  std::string token_file, ca_file, limit_rate;
  std::string agent = "mc-guest";  // for the server's logs
  int stop_fd = -1;                // a byte for each signal
  Log log = no_log();
};
struct AgentHooks {
  std::function<void()> joined;
  std::function<void()> ready;  // once: the devices are open, or a recording is going on
  // Whenever there may be something new, and twice a second.
  std::function<void(const wire::Telemetry&, bool online)> status;
};

// Until it is asked to end and everything is Synced.
Status run_agent(sys::FileSystem& fs, const AgentOptions& options, const AgentHooks& hooks);

}  // namespace mc::rig
