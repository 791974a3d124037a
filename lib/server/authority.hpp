// Who may do what: the Bearer tokens of mc-protocol(7), section "Tokens" (RFC 6750).
//
//   MC_TRY_ASSIGN(auto authority, Authority::open("/etc/maycast/secret", SecretMode::owner_only, log));
//   if (auto refused = authority->check(request, route)) return refused->response;
//
// Stateless: a token is good or not by its signature, its times and its epoch. The secret file is looked at (one
// stat(2)) with every request and read again when it changed, so that a revocation holds from the next request on. A
// file that is gone or cannot be understood leaves the rules as they were, with an error in the log: no recording stops
// because somebody is in the middle of an edit.
//
// No part of a token is ever in a message or a log. Any thread; check() may read the file: never on a network thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "server/message.hpp"
#include "server/route.hpp"
#include "server/secret_file.hpp"
#include "wire/token.hpp"

namespace mc::server {

// May the bearer of these claims do this? Routes that need no token are not asked about.
bool allows(const wire::TokenClaims& claims, const std::string& method, const Route& route);

class Authority {
 public:
  static Result<std::unique_ptr<Authority>> open(sys::FileSystem& fs, std::string path, SecretMode mode, Log log,
                                                 const Clock& clock = system_clock());

  struct Refusal {
    Response response;        // 401 or 403, with WWW-Authenticate
    std::string problem;      // its type
    std::string role, token;  // of a token that we signed: its role, its id; for the log
  };
  // Nothing: it is allowed.
  std::optional<Refusal> check(const Request& request, const Route& route);
  // Whose request it is, once check() had nothing against it. Nothing: there is no token.
  std::optional<wire::TokenClaims> bearer(const Request& request);
  // A token for these claims, of the lowest epoch that is not revoked, issued now. Kind: io.
  Result<std::string> mint(wire::TokenClaims claims);

 private:
  Authority(sys::FileSystem& fs, std::string path, SecretMode mode, Log log, const Clock& clock, Secret secret)
      : fs_(fs),
        path_(std::move(path)),
        mode_(mode),
        log_(std::move(log)),
        clock_(clock),
        secret_(std::make_shared<const Secret>(std::move(secret))) {}
  std::shared_ptr<const Secret> current();
  std::optional<Refusal> judge(const wire::TokenClaims& claims, const Request& request, const Route& route);
  // Of a token that we signed.
  std::optional<Result<wire::TokenClaims>> signed_claims(std::string_view text);

  sys::FileSystem& fs_;
  const std::string path_;
  const SecretMode mode_;
  Log log_;
  const Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<const Secret> secret_;
  std::string seen_;  // the file's version when it was read; empty: to be read again
  bool complained_ = false;
};

}  // namespace mc::server
