#include "wire/token.hpp"

#include <algorithm>
#include <array>

#include "base/json.hpp"

namespace mc::wire {
namespace {

constexpr char kJwtHeader[] = R"({"alg":"HS256","typ":"JWT"})";
constexpr char kAudience[] = "maycast";
constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t kMacBytes = 32;
constexpr std::size_t kMaxIdBytes = 200;
// RFC 7519 dates may have fractions; ours have none, and a time that overflows when the leeway is added is no time.
constexpr std::int64_t kMaxTimeS = 253'402'300'799;  // the end of the year 9999

std::array<std::int8_t, 256> make_values() {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < 64; ++i) {
    values[static_cast<std::uint8_t>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}

tl::unexpected<Error> not_ours(const std::string& what) { return fail(ErrorKind::damaged, "the token " + what); }

Result<json::object> parse_part(std::string_view part, const char* what) {
  const auto bytes = from_base64url(part);
  if (!bytes || !is_utf8(as_text(*bytes))) return not_ours(std::string("has a malformed ") + what);
  auto object = json::parse_object(as_text(*bytes));
  if (!object) return not_ours(std::string("has a malformed ") + what);
  return std::move(*object);
}

Status check_header(const json::object& header) {
  if (json::get_string(header, "alg") != "HS256") return not_ours("is not signed with HS256");
  if (header.contains("crit")) return not_ours("has extensions that are not understood");
  if (!header.contains("typ")) return {};
  std::string type = json::get_string(header, "typ").value_or("");
  std::ranges::transform(type, type.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  if (type != "JWT") return not_ours("is not a JWT");
  return {};
}

// A claim that is there and is of another type makes the token useless: who made it meant something by it.
class Claims {
 public:
  explicit Claims(const json::object& object) : object_(object) {}

  std::string text(const char* key) {
    if (!object_.contains(key)) return {};
    auto value = json::get_string(object_, key);
    if (!value || value->empty()) wrong(key);
    return value.value_or("");
  }
  std::optional<std::int64_t> number(const char* key, std::int64_t max) {
    if (!object_.contains(key)) return std::nullopt;
    const auto value = json::get_int(object_, key);
    if (!value || *value < 0 || *value > max) wrong(key);
    return value;
  }
  bool is_for_us() const {
    const json::value* audience = object_.if_contains("aud");
    const auto is_ours = [](const json::value& value) { return value.is_string() && value.as_string() == kAudience; };
    if (audience == nullptr || is_ours(*audience)) return true;
    return audience->is_array() && std::ranges::any_of(audience->as_array(), is_ours);
  }
  const std::string& wrong() const { return wrong_; }

 private:
  void wrong(const char* key) {
    if (wrong_.empty()) wrong_ = key;
  }

  const json::object& object_;
  std::string wrong_;
};

}  // namespace

const char* name(Role role) {
  switch (role) {
    case Role::admin: return "admin";
    case Role::director: return "director";
    case Role::reader: return "reader";
    case Role::guest: return "guest";
  }
  return "guest";
}

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::admin, Role::director, Role::reader, Role::guest}) {
    if (text == name(role)) return role;
  }
  return std::nullopt;
}

std::string objection(const TokenClaims& claims) {
  const auto of_role = [&claims](const char* what) { return std::string(name(claims.role)) + " token " + what; };
  const bool needs_session = claims.role == Role::director || claims.role == Role::guest;
  if (needs_session && claims.session.empty()) return of_role("without a session");
  if (claims.role == Role::admin && !claims.session.empty()) return of_role("with a session");
  if (claims.role == Role::guest && claims.guest.empty()) return of_role("without a guest");
  if (claims.role != Role::guest && !claims.guest.empty()) return of_role("with a guest");
  if (claims.role != Role::guest && !claims.take.empty()) return of_role("with a take");
  if (!claims.session.empty() && !is_name(claims.session)) return of_role("whose session is not a name");
  if (!claims.take.empty() && !is_take(claims.take)) return of_role("whose take is not a number of 3 to 9 digits");
  if (!claims.guest.empty() && !is_name(claims.guest)) return of_role("whose guest is not a name");
  return {};
}

std::string signed_part(const TokenClaims& claims) {
  json::object object;
  object["role"] = name(claims.role);
  if (!claims.session.empty()) object["session"] = claims.session;
  if (!claims.take.empty()) object["take"] = claims.take;
  if (!claims.guest.empty()) object["guest"] = claims.guest;
  object["epoch"] = claims.epoch;
  object["iat"] = claims.issued_s;
  if (claims.not_before_s) object["nbf"] = *claims.not_before_s;
  if (claims.expires_s) object["exp"] = *claims.expires_s;
  if (!claims.id.empty()) object["jti"] = claims.id;
  return to_base64url(as_bytes(kJwtHeader)) + "." + to_base64url(as_bytes(json::to_text(object)));
}

std::string format_token(std::string_view signed_part, ByteView mac) {
  return std::string(signed_part) + "." + to_base64url(mac);
}

Result<SplitToken> split_token(std::string_view text) {
  if (text.size() > kMaxTokenBytes) return not_ours("is too long");
  const auto first = text.find('.');
  const auto last = text.rfind('.');
  if (first == std::string_view::npos || first == last || text.find('.', first + 1) != last) {
    return not_ours("does not have three parts");
  }
  const auto is_spelled_right = [](std::string_view part) { return !part.empty() && from_base64url(part).has_value(); };
  auto mac = from_base64url(text.substr(last + 1));
  if (!is_spelled_right(text.substr(0, first)) || !is_spelled_right(text.substr(first + 1, last - first - 1)) || !mac) {
    return not_ours("is not base64url");
  }
  if (mac->size() != kMacBytes) return not_ours("has a signature of the wrong length");
  return SplitToken{text.substr(0, last), std::move(*mac)};
}

Result<TokenClaims> parse_claims(std::string_view signed_part) {
  const auto dot = signed_part.find('.');
  if (dot == std::string_view::npos) return not_ours("does not have three parts");
  MC_TRY_ASSIGN(const json::object header, parse_part(signed_part.substr(0, dot), "header"));
  MC_TRY(check_header(header));
  MC_TRY_ASSIGN(const json::object object, parse_part(signed_part.substr(dot + 1), "payload"));
  Claims in(object);
  const auto role = parse_role(in.text("role"));
  if (!role) return not_ours("has no role that is known");
  TokenClaims claims;
  claims.role = *role;
  claims.session = in.text("session");
  claims.take = in.text("take");
  claims.guest = in.text("guest");
  claims.epoch = static_cast<std::uint64_t>(in.number("epoch", INT64_MAX).value_or(0));
  claims.issued_s = in.number("iat", kMaxTimeS).value_or(0);
  claims.not_before_s = in.number("nbf", kMaxTimeS);
  claims.expires_s = in.number("exp", kMaxTimeS);
  claims.id = in.text("jti");
  if (!in.wrong().empty()) return not_ours("has a malformed claim '" + in.wrong() + "'");
  if (claims.id.size() > kMaxIdBytes) return not_ours("has an id that is too long");
  if (!in.is_for_us()) return not_ours("is for another audience");
  if (const std::string why = objection(claims); !why.empty()) return fail(ErrorKind::damaged, "it is a " + why);
  return claims;
}

TokenTime in_time(const TokenClaims& claims, std::int64_t now_s) {
  if (claims.not_before_s && now_s + kTokenLeewayS < *claims.not_before_s) return TokenTime::too_early;
  if (claims.expires_s && now_s >= *claims.expires_s + kTokenLeewayS) return TokenTime::expired;
  return TokenTime::valid;
}

bool covers(const TokenClaims& claims, const RecordingPath& path) {
  if (!claims.session.empty() && claims.session != path.session) return false;
  if (!claims.take.empty() && claims.take != path.take) return false;
  return claims.guest.empty() || is_same_or_rebound(path.guest, claims.guest);
}

std::string to_base64url(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t pending = 0;
  int bits = 0;
  for (const std::uint8_t byte : bytes) {
    pending = (pending << 8 | byte) & 0xFFFFU;
    for (bits += 8; bits >= 6;) {
      bits -= 6;
      text += kAlphabet[pending >> bits & 63U];
    }
  }
  if (bits > 0) text += kAlphabet[pending << (6 - bits) & 63U];
  return text;
}

std::optional<ByteBuffer> from_base64url(std::string_view text) {
  static const std::array<std::int8_t, 256> kValues = make_values();
  if (text.size() % 4 == 1) return std::nullopt;
  ByteBuffer bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t pending = 0;
  int bits = 0;
  for (const char c : text) {
    const std::int8_t value = kValues[static_cast<std::uint8_t>(c)];
    if (value < 0) return std::nullopt;
    pending = (pending << 6 | static_cast<std::uint32_t>(value)) & 0xFFFFU;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::uint8_t>(pending >> bits));
  }
  // Bits that are left over and not zero would be a second spelling of the same bytes.
  if ((pending & ((1U << bits) - 1U)) != 0) return std::nullopt;
  return bytes;
}

}  // namespace mc::wire
