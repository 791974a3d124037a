#include "server/route.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace mc::server {
namespace {

constexpr std::string_view kKeys = "/v1/keys/";
constexpr std::string_view kSessions = "/v1/sessions";
constexpr std::string_view kRecordings = "/v1/recordings/";

std::string_view path_of(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const auto slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
    break;
  }
  return target.substr(0, target.find('?'));
}

// Nothing: there is such a parameter, with a value that is not known. Who asks for more than an audit must not get
// less.
std::optional<AuditDepth> audit_depth(std::string_view target) {
  auto depth = AuditDepth::what_changed;
  const auto mark = target.find('?');
  std::string_view query = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  while (!query.empty()) {
    const auto end = query.find('&');
    const std::string_view parameter = query.substr(0, end);
    if (parameter == "verify=full") {
      depth = AuditDepth::everything;
    } else if (parameter.substr(0, parameter.find('=')) == "verify") {
      return std::nullopt;
    }
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
  }
  return depth;
}

Route recording_route(std::string_view rest, std::string_view target) {
  std::vector<std::string> parts;
  for (;;) {
    const auto slash = rest.find('/');
    auto decoded = wire::percent_decode(rest.substr(0, slash));
    if (!decoded) return BadNameRoute{"a percent-encoding is broken"};
    parts.push_back(std::move(*decoded));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
    if (parts.size() == 4) return UnknownRoute{};
  }
  auto tracks = join::Tracks::all;
  if (parts.size() == 3) {
    const auto dot = std::min(parts[2].rfind('.'), parts[2].size());
    const std::string suffix = parts[2].substr(dot);
    if (suffix != ".mp4" && suffix != ".m4a") return UnknownRoute{};
    if (suffix == ".m4a") tracks = join::Tracks::sound;
    parts[2].resize(dot);
  } else if (parts.size() != 4) {
    return UnknownRoute{};
  }
  if (!wire::is_name(parts[0])) return BadNameRoute{"the session is not a name"};
  if (!wire::is_take(parts[1])) return BadNameRoute{"the take is not a number of 3 to 9 digits"};
  if (!wire::is_name(parts[2])) return BadNameRoute{"the guest is not a name"};
  wire::RecordingPath path{std::move(parts[0]), std::move(parts[1]), std::move(parts[2])};
  if (parts.size() == 3) return JoinedRoute{std::move(path), tracks};
  if (parts[3].empty()) return ListingRoute{std::move(path)};
  const auto file = wire::parse_file_name(parts[3]);
  if (!file) return BadNameRoute{"the last component is not the name of a file of a recording"};
  FileRoute route{std::move(path), std::move(parts[3]), file->kind};
  if (file->kind == wire::FileKind::manifest) {
    const auto depth = audit_depth(target);
    if (!depth) return BadQueryRoute{"'verify' of a manifest can only be 'full'"};
    route.depth = *depth;
  }
  return route;
}

Route session_route(std::string_view rest) {
  if (rest.empty()) return SessionRoute{{}, SessionAction::create};
  if (rest.front() != '/') return UnknownRoute{};
  rest.remove_prefix(1);
  const auto slash = rest.find('/');
  auto session = wire::percent_decode(rest.substr(0, slash));
  if (!session || !wire::is_name(*session)) return BadNameRoute{"the session is not a name"};
  if (slash == std::string_view::npos) return SessionRoute{std::move(*session), SessionAction::view};
  constexpr std::pair<std::string_view, SessionAction> kActions[] = {
      {"guests", SessionAction::guests}, {"rec", SessionAction::rec},   {"stop", SessionAction::stop},
      {"finish", SessionAction::finish}, {"join", SessionAction::join}, {"control", SessionAction::control}};
  for (const auto& [word, action] : kActions) {
    if (rest.substr(slash + 1) == word) return SessionRoute{std::move(*session), action};
  }
  return UnknownRoute{};
}

}  // namespace

Route parse_route(std::string_view target) {
  const std::string_view path = path_of(target);
  if (path == "/healthz") return HealthRoute{};
  if (path == "/readyz") return ReadyRoute{};
  if (path == "/metrics") return MetricsRoute{};
  if (path == "/v1/key") return KeyRoute{};
  if (path.starts_with(kKeys) && path.size() > kKeys.size()) return KeyRoute{std::string(path.substr(kKeys.size()))};
  if (path.starts_with(kSessions)) return session_route(path.substr(kSessions.size()));
  if (path.starts_with(kRecordings)) return recording_route(path.substr(kRecordings.size()), target);
  return UnknownRoute{};
}

std::string allowed_methods(const Route& route) {
  if (std::holds_alternative<UnknownRoute>(route) || std::holds_alternative<BadNameRoute>(route)) return {};
  if (const auto* session = std::get_if<SessionRoute>(&route)) {
    const bool is_read = session->action == SessionAction::view || session->action == SessionAction::control;
    return is_read ? "GET, HEAD" : "POST";
  }
  const auto* file = std::get_if<FileRoute>(&route);
  if (file != nullptr && file->kind != wire::FileKind::receipt) return "GET, HEAD, PUT, PATCH";
  return "GET, HEAD";  // a receipt is only ever made by the server (never-lose F8)
}

}  // namespace mc::server
