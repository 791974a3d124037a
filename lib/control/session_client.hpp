// A client's requests to a session (mc-session(7)): what a director decides, what anybody reads.
//
//   MC_TRY_ASSIGN(auto client, SessionClient::open({.base_url = …, .http = …}));
//   MC_TRY_ASSIGN(const auto answer, client.command("studio-a", Command::rec, ""));
//   if (answer.refused) …                          // somebody else was faster: answer.refused->state
//
// A request that breaks is made again, with the same Idempotency-Key, so that it is obeyed once: until an answer comes,
// for `patience_ms`. 409 wrong-state is an answer and no error. One thread; blocks.
//
// Error kinds: those of http::Client; unavailable when the patience is over (EINTR in sys_errno: stopped by stop_fd);
// not_found (no such session), refused, permission (the token), protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "http/client.hpp"
#include "wire/control.hpp"

namespace mc::control {

enum class Command : std::uint8_t { rec, stop, finish };

struct SessionClientOptions {
  std::string base_url;                              // as http::check_base_url gives it
  http::ClientOptions http;                          // its stop_fd also ends the waits
  std::optional<std::int64_t> patience_ms = 30'000;  // nothing: for ever
  Log log = no_log();                                // says once that it waits, and for what
};

struct CommandAnswer {
  std::optional<wire::SessionView> view;  // one of the two
  std::optional<wire::Refused> refused;
};

class SessionClient {
 public:
  static Result<SessionClient> open(SessionClientOptions options);

  // A new request's name (Idempotency-Key).
  static Result<std::string> new_key();
  // `key`: who may be killed before it has kept the answer keeps the key first, and asks again with it.
  Result<wire::SessionCreated> create(const std::string& session, const std::vector<std::string>& guests,
                                      const std::string& key);
  Result<wire::SessionCreated> invite(const std::string& session, const std::vector<std::string>& guests);
  Result<wire::SessionView> view(const std::string& session);
  // The guest's token for its code. Kinds also: permission (no such guest, or not its code; that cannot be told apart).
  // After too many wrong codes the server wants some rest, and gets it within the patience.
  Result<wire::JoinAnswer> join(const std::string& session, const std::string& guest, const std::string& code);
  // The server's public key of that fingerprint, as PEM. Whether it is that one is for the caller to see.
  Result<std::string> public_key(const std::string& fingerprint);
  Result<CommandAnswer> command(const std::string& session, Command command, const std::string& take);

  void set_patience(std::optional<std::int64_t> patience_ms) { options_.patience_ms = patience_ms; }

 private:
  SessionClient(SessionClientOptions options, http::Client client)
      : options_(std::move(options)), client_(std::move(client)) {}
  // Any answer that is no reason to try again.
  Result<http::Response> ask(const std::string& method, const std::string& target, const std::string& body,
                             const char* doing, std::string key = {});

  SessionClientOptions options_;
  http::Client client_;
};

}  // namespace mc::control
