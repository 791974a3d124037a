// From a request target to what it names. Everything that comes from outside passes the name rules of wire/names.hpp
// here; behind this point a path component can be part of a file name.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "join/plan.hpp"
#include "wire/names.hpp"

namespace mc::server {

// What an audit reads: files whose change token is another one than when they were read back, or all of them again.
enum class AuditDepth : std::uint8_t { what_changed, everything };

struct HealthRoute {};
struct ReadyRoute {};
struct MetricsRoute {};
struct KeyRoute {
  std::string fingerprint;  // empty: the current key
};
struct ListingRoute {
  wire::RecordingPath path;
};
struct FileRoute {
  wire::RecordingPath path;
  std::string name;
  wire::FileKind kind = wire::FileKind::manifest;
  AuditDepth depth = AuditDepth::what_changed;  // of a manifest: `verify=full` in the query
};
// SESSION/TAKE/GUEST.mp4, SESSION/TAKE/GUEST.m4a: made of the recording's files while it is sent (joined.hpp).
struct JoinedRoute {
  wire::RecordingPath path;
  join::Tracks tracks = join::Tracks::all;
};
// /v1/recordings/… whose components are no names, or whose query asks for what is not known; `why` is for the answer.
struct BadNameRoute {
  std::string why;
};
struct BadQueryRoute {
  std::string why;
};
// /v1/sessions, /v1/sessions/SESSION, /v1/sessions/SESSION/ACTION (mc-session(7)).
enum class SessionAction : std::uint8_t { create, view, guests, rec, stop, finish, join, control };
struct SessionRoute {
  std::string session;  // empty for create
  SessionAction action = SessionAction::view;
};
struct UnknownRoute {};
using Route = std::variant<UnknownRoute, BadNameRoute, HealthRoute, ReadyRoute, MetricsRoute, KeyRoute, ListingRoute,
                           FileRoute, JoinedRoute, BadQueryRoute, SessionRoute>;

// Origin form or absolute form (RFC 9112 3.2); of the query only `verify` of a manifest is looked at. Never fails.
Route parse_route(std::string_view target);
// For the Allow header: "GET, HEAD" and so on; empty for unknown routes.
std::string allowed_methods(const Route& route);

}  // namespace mc::server
