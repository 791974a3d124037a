// mc-serve secret and mc-serve token: what tokens are signed with, and tokens, by hand. mc-serve(1) is the contract.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/app.hpp"
#include "wire/token.hpp"

namespace mc::tool_serve {

struct TokenOptions {
  std::string secret_file;
  wire::TokenClaims claims;
  std::string role, expires;
  std::optional<std::uint64_t> epoch;
};
CLI::App* add_secret_command(cli::Invocation& in, TokenOptions& options);
CLI::App* add_token_command(cli::Invocation& in, TokenOptions& options);

Result<int> make_secret(cli::Invocation& in, const TokenOptions& options);
// One token on stdout, and nothing of it anywhere else.
Result<int> make_token(cli::Invocation& in, const TokenOptions& options);

// "30d", "12h", "90m", "45s": seconds. Kind: usage.
Result<std::int64_t> parse_age(const std::string& text);

}  // namespace mc::tool_serve
