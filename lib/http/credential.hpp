// The bearer token (RFC 6750) that a client sends, in a file that somebody else may renew at any time.
//
//   MC_TRY_ASSIGN(const auto credential, find_credential(option));   // may be null: none is configured
//   credential->token()                                              // "Authorization: Bearer " + this
//   … 401 … credential->other_than(token)                            // the file is read again
//
// The token is the file's text without white space at its ends. It is never part of a message.
// Any thread; shared by all clients of a process.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.hpp"

namespace mc::http {

class Credential {
 public:
  // Kind config: the file cannot be read, or holds no token.
  static Result<std::shared_ptr<Credential>> open(std::string path);

  std::string token() const;
  // `refused` was not accepted: reads the file again. Another token if there is one by now.
  std::optional<std::string> other_than(const std::string& refused);
  // Why the file could not be read when it was last looked at; the token from before goes on being used.
  std::optional<Error> fault() const;

 private:
  Credential(std::string path, std::string token) : path_(std::move(path)), token_(std::move(token)) {}

  const std::string path_;
  mutable std::mutex mutex_;
  std::string token_;
  std::optional<Error> fault_;
};

// The file named by `option`; when that is empty by MC_TOKEN_FILE; else the service manager's credential "mc-token"
// ($CREDENTIALS_DIRECTORY, systemd.exec(5)), if there is one. Null: none of them.
Result<std::shared_ptr<Credential>> find_credential(const std::string& option);

}  // namespace mc::http
