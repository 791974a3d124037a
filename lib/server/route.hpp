// From a request target to what it names. Everything that comes from outside passes the name rules of wire/names.hpp
// here; behind this point a path component can be part of a file name.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "wire/names.hpp"

namespace mc::server {

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
};
// /v1/recordings/… whose components are no names; `why` is for the answer.
struct BadNameRoute {
  std::string why;
};
struct UnknownRoute {};
using Route =
    std::variant<UnknownRoute, BadNameRoute, HealthRoute, ReadyRoute, MetricsRoute, KeyRoute, ListingRoute, FileRoute>;

// Origin form or absolute form (RFC 9112 3.2); the query is ignored. Never fails.
Route parse_route(std::string_view target);
// For the Allow header: "GET, HEAD" and so on; empty for unknown routes.
std::string allowed_methods(const Route& route);

}  // namespace mc::server
