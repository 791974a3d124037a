// A session as a person sees it, once or for as long as he looks; and waiting for a state.
#pragma once

#include <optional>
#include <string>

#include "cli/app.hpp"
#include "control/session_client.hpp"

namespace mc::tool_direct {

// The table, with a newline behind each line.
std::string table(const wire::SessionView& view);

Result<int> status(cli::Invocation& in, control::SessionClient& client, const std::string& session);
// Until a signal. On a terminal the table is drawn anew; elsewhere, and with --json, each view that differs is printed.
Result<int> watch(cli::Invocation& in, control::SessionClient& client, const std::string& session);

struct WaitOptions {
  std::string session, take;  // no take: the last one
  wire::TakeState state = wire::TakeState::synced;
  std::optional<double> timeout_s;
};
// 0: the take is in the state. 1: it never will be (incomplete, where synced was wanted). Kind unavailable: the time is
// over.
Result<int> wait(cli::Invocation& in, control::SessionClient& client, const WaitOptions& options);

}  // namespace mc::tool_direct
