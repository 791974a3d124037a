// Who a rig is to the server, and whom it believes: what a join URL is exchanged for, kept below the spool so that it
// is done once (mc-session(7), JOINING).
#pragma once

#include <string>

#include "base/log.hpp"
#include "sys/file_system.hpp"
#include "wire/join_url.hpp"

namespace mc::rig {

struct Identity {
  std::string token_file;  // empty: the server asks for none
  std::string key_file;    // the server's public key; empty: no fingerprint was given, and none is pinned
};
struct IdentityOptions {
  wire::JoinUrl url;
  std::string directory;   // exists; where the two files lie
  std::string token_file;  // given: no code is exchanged
  std::string ca_file;
  int stop_fd = -1;
  Log log = no_log();
};

// What is there is taken; for the rest the server is asked, for as long as it takes. Kinds: permission (the code is not
// good), config (the server's key is another one), unavailable with EINTR (stopped), those of the file system.
Result<Identity> find_identity(sys::FileSystem& fs, const IdentityOptions& options);

}  // namespace mc::rig
