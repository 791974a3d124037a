#include "mc-serve/token.hpp"

#include <charconv>

#include "base/clock.hpp"
#include "digest/hmac.hpp"
#include "server/secret_file.hpp"

namespace mc::tool_serve {
namespace {

constexpr std::size_t kIdBytes = 8;
constexpr std::int64_t kMaxAgeS = std::int64_t{100} * 366 * 86'400;

}  // namespace

CLI::App* add_secret_command(cli::Invocation& in, TokenOptions& options) {
  auto* command = in.app.add_subcommand("secret", "make a secret for tokens, in a file that was not there before");
  command->add_option("FILE", options.secret_file, "the file to make")->required();
  return command;
}

CLI::App* add_token_command(cli::Invocation& in, TokenOptions& options) {
  auto* command = in.app.add_subcommand("token", "print a token for somebody");
  command->add_option("--secret-file", options.secret_file, "the file with the server's secret")
      ->type_name("FILE")
      ->required();
  command->add_option("--role", options.role, "what it is for: admin, director, reader or guest")->required();
  command->add_option("--session", options.claims.session, "the session that it is for");
  command->add_option("--take", options.claims.take, "guest: only this take (default: every one)");
  command->add_option("--guest", options.claims.guest, "guest: whose recordings it may write");
  command->add_option("--expires", options.expires, "how long it is good: 30d, 12h, 90m, 45s (default: until revoked)");
  command->add_option("--epoch", options.epoch, "its epoch (default: the lowest that is not revoked)");
  return command;
}

Result<std::int64_t> parse_age(const std::string& text) {
  const auto bad = [&] {
    return fail(Error{ErrorKind::usage, "'" + text + "' is not a length of time", 0,
                      "write a number and d, h, m or s: 30d, 12h"});
  };
  std::int64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc{} || number < 0 || end + 1 != text.data() + text.size()) return bad();
  std::int64_t unit_s = 0;
  switch (*end) {
    case 'd': unit_s = 86'400; break;
    case 'h': unit_s = 3600; break;
    case 'm': unit_s = 60; break;
    case 's': unit_s = 1; break;
    default: return bad();
  }
  if (number > kMaxAgeS / unit_s) return bad();
  return number * unit_s;
}

Result<int> make_secret(cli::Invocation& in, const TokenOptions& options) {
  MC_TRY(server::make_secret(sys::real_file_system(), options.secret_file));
  in.log()(LogLevel::info, "'" + options.secret_file + "' is the secret: whoever reads it can make every token");
  return cli::kDone;
}

Result<int> make_token(cli::Invocation& in, const TokenOptions& options) {
  wire::TokenClaims claims = options.claims;
  const auto role = wire::parse_role(options.role);
  if (!role) {
    return fail(
        Error{ErrorKind::usage, "'" + options.role + "' is no role", 0, "it is admin, director, reader or guest"});
  }
  claims.role = *role;
  if (const std::string why = wire::objection(claims); !why.empty()) {
    return fail(Error{ErrorKind::usage, "will not make a " + why, 0, "see man mc-serve, 'Tokens'"});
  }
  MC_TRY_ASSIGN(const server::Secret secret,
                server::load_secret(sys::real_file_system(), options.secret_file, server::SecretMode::owner_only));
  claims.issued_s = system_clock().wall_ns() / 1'000'000'000;
  if (!options.expires.empty()) {
    MC_TRY_ASSIGN(const std::int64_t age_s, parse_age(options.expires));
    claims.expires_s = claims.issued_s + age_s;
  }
  claims.epoch = options.epoch.value_or(secret.min_epoch_for(claims.session));
  if (claims.epoch > INT64_MAX) return fail(ErrorKind::usage, "the epoch is too large");
  if (claims.epoch < secret.min_epoch_for(claims.session)) {
    in.log()(LogLevel::warning, "tokens of this epoch are revoked: the server will refuse this one");
  }
  MC_TRY_ASSIGN(const ByteBuffer id, digest::random_bytes(kIdBytes));
  claims.id = digest::to_hex(id);
  const std::string text = wire::signed_part(claims);
  const std::string token = wire::format_token(text, digest::hmac_sha256(as_bytes(secret.key), as_bytes(text)));
  const std::string document = json::to_text(json::object{{"token", token}, {"token_id", claims.id}});
  MC_TRY(in.print((in.json() ? document : token) + "\n"));
  return cli::kDone;
}

}  // namespace mc::tool_serve
