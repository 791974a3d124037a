#include "server/authority.hpp"

#include <algorithm>

#include "digest/hmac.hpp"
#include "digest/sha256.hpp"

namespace mc::server {
namespace {

constexpr char kRealm[] = "Bearer realm=\"maycast\"";

bool is_open(const Route& route) {
  // Who joins has no token yet, and has its code instead.
  const auto* session = std::get_if<SessionRoute>(&route);
  if (session != nullptr && session->action == SessionAction::join) return true;
  return std::holds_alternative<HealthRoute>(route) || std::holds_alternative<ReadyRoute>(route) ||
         std::holds_alternative<KeyRoute>(route);
}

const wire::RecordingPath* recording_of(const Route& route) {
  if (const auto* file = std::get_if<FileRoute>(&route)) return &file->path;
  if (const auto* listing = std::get_if<ListingRoute>(&route)) return &listing->path;
  if (const auto* joined = std::get_if<JoinedRoute>(&route)) return &joined->path;
  return nullptr;
}

bool is_text(const Route& route) {
  const auto* file = std::get_if<FileRoute>(&route);
  return file != nullptr && (file->kind == wire::FileKind::manifest || file->kind == wire::FileKind::receipt);
}

// RFC 6750 2.1. The scheme's case does not matter (RFC 9110 11.1).
std::optional<std::string_view> bearer_token(const RequestHeaders& headers) {
  constexpr std::string_view kScheme = "bearer ";
  if (!headers.authorization || headers.authorization->size() <= kScheme.size()) return std::nullopt;
  std::string_view text = *headers.authorization;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  if (!std::ranges::equal(text.substr(0, kScheme.size()), kScheme, {}, lower)) return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of(' ', kScheme.size()), text.size()));
  return text;
}

Authority::Refusal refusal(int status, std::string type, std::string title, std::string detail,
                           const std::string& challenge, const wire::TokenClaims* claims = nullptr) {
  Authority::Refusal refused{problem(status, type, std::move(title), std::move(detail)), type, {}, {}};
  refused.response.headers.emplace_back("WWW-Authenticate", kRealm + challenge);
  if (claims != nullptr) {
    refused.role = wire::name(claims->role);
    refused.token = claims->id;
  }
  return refused;
}

// Whoever has no token, or a wrong one, learns no more than that.
Authority::Refusal invalid(std::string type, std::string title, const wire::TokenClaims* claims = nullptr) {
  const std::string challenge = ", error=\"invalid_token\", error_description=\"" + title + '"';
  return refusal(401, std::move(type), std::move(title), {}, challenge, claims);
}

// Of a session everybody in it may see what it decided; only its director decides. An admin may do everything.
bool allows_session(const wire::TokenClaims& claims, const SessionRoute& route) {
  const bool is_ours = claims.session == route.session || (claims.role == wire::Role::reader && claims.session.empty());
  if (!is_ours || route.action == SessionAction::create) return false;
  const bool only_looks = route.action == SessionAction::view || route.action == SessionAction::control;
  return only_looks || claims.role == wire::Role::director;
}

}  // namespace

bool allows(const wire::TokenClaims& claims, const std::string& method, const Route& route) {
  const bool reads = method == "GET" || method == "HEAD";
  if (claims.role == wire::Role::admin) return true;
  if (const auto* session = std::get_if<SessionRoute>(&route)) return allows_session(claims, *session);
  if (std::holds_alternative<MetricsRoute>(route)) return claims.role == wire::Role::reader && claims.session.empty();
  const wire::RecordingPath* path = recording_of(route);
  if (path == nullptr || !wire::covers(claims, *path)) return false;
  if (claims.role != wire::Role::guest) return reads;
  // A stolen rig gives nothing of what was recorded: a guest sees what is held of its own, and sends.
  if (std::holds_alternative<ListingRoute>(route) || is_text(route)) return true;
  return std::holds_alternative<FileRoute>(route) && method != "GET";
}

Result<std::unique_ptr<Authority>> Authority::open(sys::FileSystem& fs, std::string path, SecretMode mode, Log log,
                                                   const Clock& clock) {
  MC_TRY_ASSIGN(Secret secret, load_secret(fs, path, mode));
  return std::unique_ptr<Authority>(new Authority(fs, std::move(path), mode, std::move(log), clock, std::move(secret)));
}

std::shared_ptr<const Secret> Authority::current() {
  const SecretVersion version = secret_version(path_);
  const std::lock_guard lock(mutex_);
  if (version.settled && version.token == seen_) return secret_;
  auto secret = load_secret(fs_, path_, mode_);
  if (secret) {
    secret_ = std::make_shared<const Secret>(std::move(*secret));
    complained_ = false;
  } else if (!complained_) {
    log_(LogLevel::error, secret.error().message + "; tokens are judged by what it said before");
    complained_ = true;
  }
  // A file that is not there, or not readable, is looked for again with each request.
  seen_ = secret && version.settled ? version.token : std::string();
  return secret_;
}

std::optional<Result<wire::TokenClaims>> Authority::signed_claims(std::string_view text) {
  const auto secret = current();
  const auto split = wire::split_token(text);
  if (!split || !digest::equal_in_constant_time(
                    split->mac, digest::hmac_sha256(as_bytes(secret->key), as_bytes(split->signed_part)))) {
    return std::nullopt;
  }
  return wire::parse_claims(split->signed_part);
}

std::optional<wire::TokenClaims> Authority::bearer(const Request& request) {
  const auto text = bearer_token(request.headers);
  const auto claims = text ? signed_claims(*text) : std::nullopt;
  if (!claims || !*claims) return std::nullopt;
  return **claims;
}

Result<std::string> Authority::mint(wire::TokenClaims claims) {
  constexpr std::size_t kIdBytes = 8;
  const auto secret = current();
  MC_TRY_ASSIGN(const ByteBuffer id, digest::random_bytes(kIdBytes));
  claims.id = digest::to_hex(id);
  claims.issued_s = clock_.wall_ns() / 1'000'000'000;
  claims.epoch = secret->min_epoch_for(claims.session);
  const std::string text = wire::signed_part(claims);
  return wire::format_token(text, digest::hmac_sha256(as_bytes(secret->key), as_bytes(text)));
}

std::optional<Authority::Refusal> Authority::check(const Request& request, const Route& route) {
  if (is_open(route)) return std::nullopt;
  const auto text = bearer_token(request.headers);
  if (!text) return refusal(401, "token-required", "a token is required", {}, {});
  const auto claims = signed_claims(*text);
  if (!claims) return invalid("token-invalid", "the token is not valid");
  if (!*claims) {
    log_(LogLevel::warning, "a token that we signed is refused: " + claims->error().message);
    return invalid("token-invalid", "the token is not valid");
  }
  return judge(**claims, request, route);
}

std::optional<Authority::Refusal> Authority::judge(const wire::TokenClaims& claims, const Request& request,
                                                   const Route& route) {
  switch (wire::in_time(claims, clock_.wall_ns() / 1'000'000'000)) {
    case wire::TokenTime::expired: return invalid("token-expired", "the token has expired", &claims);
    case wire::TokenTime::too_early: return invalid("token-invalid", "the token is not valid yet", &claims);
    case wire::TokenTime::valid: break;
  }
  if (claims.epoch < current()->min_epoch_for(claims.session)) {
    return invalid("token-revoked", "the token is revoked", &claims);
  }
  if (allows(claims, request.method, route)) return std::nullopt;
  return refusal(403, "not-allowed", "the token does not allow this", {}, ", error=\"insufficient_scope\"", &claims);
}

}  // namespace mc::server
