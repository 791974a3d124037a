// UNIX stream sockets by path. A path of any length: sun_path has room for 107 bytes, so the directory is opened and
// the socket named through /proc/self/fd.
#pragma once

#include <string>

#include "sys/fd.hpp"

namespace mc::sys {

// Listens at `path`; a socket that lies there is taken for a dead process's and replaced, so hold a lock that says so.
// Non-blocking.
Result<Fd> listen_local(const std::string& path);
// A non-blocking connection that is waiting, or an invalid Fd when there is none.
Result<Fd> accept_local(const Fd& listener);
// Kind not_found: no such socket; unavailable: nobody listens there. Blocking.
Result<Fd> connect_local(const std::string& path);

}  // namespace mc::sys
