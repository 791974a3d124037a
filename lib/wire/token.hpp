// Tokens: signed capabilities that say what their bearer may do (mc-protocol(7), "Tokens"). A token is a JSON Web Token
// (RFC 7519) in the compact form of RFC 7515, with HS256 and with nothing else:
//
//   base64url({"alg":"HS256","typ":"JWT"}) . base64url(claims) . base64url(HMAC-SHA-256 of all before the last dot)
//
// To make one:
//   std::string text = signed_part(claims);
//   text = format_token(text, digest::hmac_sha256(secret, as_bytes(text)));
//
// To read one; in this order, so that nothing of a token is interpreted before it is known to be ours:
//   MC_TRY_ASSIGN(const SplitToken token, split_token(text));
//   if (!digest::equal_in_constant_time(token.mac, digest::hmac_sha256(secret, as_bytes(token.signed_part)))) …
//   MC_TRY_ASSIGN(const TokenClaims claims, parse_claims(token.signed_part));
//   … in_time(claims, now), claims.epoch …
//
// The computing of the MAC is `digest`'s, the secret and what is revoked are the server's. No messages here contain any
// part of a token. All errors are of kind damaged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "wire/names.hpp"

namespace mc::wire {

inline constexpr std::size_t kMaxTokenBytes = 4096;
inline constexpr std::int64_t kTokenLeewayS = 60;  // clocks differ

enum class Role : std::uint8_t {
  admin,     // everything
  director,  // of one session: decides in it, and reads it
  reader,    // reads everything, or one session
  guest,     // writes one guest's recordings, in one session or in one take of it
};
const char* name(Role role);
std::optional<Role> parse_role(std::string_view text);

struct TokenClaims {
  Role role = Role::guest;
  std::string session;  // director, guest: required; reader: may be empty, which is every session; admin: empty
  std::string take;     // guest: may be empty, which is every take of the session; others: empty
  std::string guest;    // guest: required; others: empty
  std::uint64_t epoch = 0;
  std::int64_t issued_s = 0;  // since the Unix epoch
  std::optional<std::int64_t> not_before_s;
  std::optional<std::int64_t> expires_s;
  std::string id;  // jti: to tell tokens apart in a log
  bool operator==(const TokenClaims&) const = default;
};

// Why these claims cannot be a token's: a role without its session, a name that is none, …; empty: they can.
std::string objection(const TokenClaims& claims);

std::string signed_part(const TokenClaims& claims);
std::string format_token(std::string_view signed_part, ByteView mac);

struct SplitToken {
  std::string_view signed_part;  // into the text
  ByteBuffer mac;                // 32 bytes
};
// Three parts of base64url (RFC 4648 section 5) without padding, each in its one spelling, the last of 32 bytes.
Result<SplitToken> split_token(std::string_view text);

// Of a signed part whose MAC was right. The algorithm is HS256, the type JWT or none, no `crit`, `aud` (if any) is
// "maycast"; every claim that is known has its right type, and there is no objection to them. Others are passed over.
Result<TokenClaims> parse_claims(std::string_view signed_part);

enum class TokenTime : std::uint8_t { valid, too_early, expired };
TokenTime in_time(const TokenClaims& claims, std::int64_t now_s);  // with kTokenLeewayS either way

// Is it a recording of the claims' session, take and guest (or GUEST~N, a name that was rebound), where they say any?
bool covers(const TokenClaims& claims, const RecordingPath& path);

// base64url without padding.
std::string to_base64url(ByteView bytes);
std::optional<ByteBuffer> from_base64url(std::string_view text);

}  // namespace mc::wire
