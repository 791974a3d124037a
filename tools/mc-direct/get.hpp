// All joined files of a take, from the server into a directory (mc-direct(1), get).
#pragma once

#include <string>

#include "cli/app.hpp"
#include "control/session_client.hpp"

namespace mc::tool_direct {

struct GetOptions {
  std::string base_url;
  std::string session, take;
  std::string directory;
  unsigned parallel = 3;
  http::ClientOptions http;
};

// 0: every recording of every guest is there, whole and durable. 1: something is missing, and is named. Kind
// unavailable: of what is missing some may come when it is asked for again.
Result<int> get(cli::Invocation& in, control::SessionClient& client, const GetOptions& options);

}  // namespace mc::tool_direct
