#include "server/service.hpp"

#include "digest/sha256.hpp"
#include "server/access_log.hpp"
#include "server/conditional.hpp"

namespace mc::server {
namespace {

std::string digest_field(const std::string& sha256_hex) {
  return wire::format_digest(digest::to_base64(digest::from_hex(sha256_hex).value_or(ByteBuffer{})));
}

}  // namespace

bool is_long_job(const Request& request) {
  const Route route = parse_route(request.target);
  const auto* file = std::get_if<FileRoute>(&route);
  if (file != nullptr) {
    return (request.method == "PUT" || request.method == "PATCH") && file->kind == wire::FileKind::manifest;
  }
  return std::holds_alternative<ListingRoute>(route);
}

bool is_command(const Request& request) {
  return request.method == "POST" && std::holds_alternative<SessionRoute>(parse_route(request.target));
}

bool is_control(const Request& request) {
  const Route route = parse_route(request.target);
  const auto* session = std::get_if<SessionRoute>(&route);
  return request.method == "GET" && session != nullptr && session->action == SessionAction::control &&
         request.headers.upgrade.has_value();
}

bool waits_for_upload(const Request& request) {
  return request.method == "HEAD" && request.headers.recording && request.headers.repr_digest;
}

Service::Service(store::Store& store, store::HeldIndex& index, const digest::PrivateKey& key,
                 digest::PublicKey public_key, Metrics& metrics, Log log, Policy policy)
    : store_(store),
      index_(index),
      public_key_(public_key),
      metrics_(metrics),
      log_(log),
      policy_(policy),
      auditor_(store, index, key, public_key, metrics, log, policy.control_log),
      joiner_(store, index, auditor_, log),
      sessions_(store, public_key.fingerprint(), policy.authority, policy.control_log, log) {}

Response Service::failed(const Error& error, const std::string& doing) {
  log_(LogLevel::warning, doing + ": " + error.message);
  // A part can be sent again; what needs the room it takes may be the rest of a recording.
  if (is_full(error)) partial_.drop_parked();
  return store_problem(error);
}

Response Service::refuse_method(const Route& route) const {
  Response response = problem(405, "method-not-allowed", "the method is not allowed here");
  response.headers.emplace_back("Allow", allowed_methods(route));
  return response;
}

std::optional<Response> Service::refuse_bearer(const Request& request, const Route& route) {
  if (policy_.authority == nullptr) return std::nullopt;
  auto refused = policy_.authority->check(request, route);
  if (!refused) return std::nullopt;
  if (policy_.control_log != nullptr) {
    json::object fields{{"problem", refused->problem},
                        {"remote", request.remote},
                        {"method", request.method},
                        {"target", printable_target(request.target)}};
    if (!refused->role.empty()) fields["role"] = refused->role;
    if (!refused->token.empty()) fields["token_id"] = refused->token;
    policy_.control_log->add_limited("token-refused", std::move(fields));
  }
  return std::move(refused->response);
}

Response Service::handle(const Request& request) {
  const Route route = parse_route(request.target);
  if (const auto* bad = std::get_if<BadNameRoute>(&route)) return problem(400, "bad-name", "not a name", bad->why);
  if (const auto* bad = std::get_if<BadQueryRoute>(&route)) {
    return problem(400, "bad-request", "the query is not understood", bad->why);
  }
  if (std::holds_alternative<UnknownRoute>(route)) return not_found("no resource has this path");
  if (auto refused = refuse_bearer(request, route)) return std::move(*refused);
  if (request.method != "GET" && request.method != "HEAD") return refuse_method(route);
  if (const auto* session = std::get_if<SessionRoute>(&route)) {
    if (allowed_methods(route) == "POST") return refuse_method(route);
    return sessions_.handle(request, *session, {});
  }
  if (const auto* file = std::get_if<FileRoute>(&route)) return read_file(*file, request);
  if (const auto* listing = std::get_if<ListingRoute>(&route)) return list(*listing);
  if (const auto* joined = std::get_if<JoinedRoute>(&route)) {
    auto response = joiner_.get(joined->path, joined->tracks, request.headers);
    if (response) return std::move(*response);
    return failed(response.error(), "cannot join '" + joined->path.text() + "'");
  }
  if (const auto* wanted = std::get_if<KeyRoute>(&route)) return key(*wanted);
  if (std::holds_alternative<ReadyRoute>(route)) return ready();
  if (std::holds_alternative<MetricsRoute>(route)) {
    const auto free_bytes = store_.free_bytes();
    const PartialUploads::Parked parked = partial_.parked();
    return text_response(200, "text/plain; version=0.0.4; charset=utf-8",
                         metrics_.text({.files_read_back = index_.files_read(),
                                        .read_backs_waiting = index_.waiting(),
                                        .parked_uploads = parked.uploads,
                                        .parked_bytes = parked.bytes,
                                        .store_free_bytes = free_bytes ? std::optional(*free_bytes) : std::nullopt}));
  }
  return text_response(200, "text/plain", "ok\n");
}

Response Service::command(const Request& request, std::string_view body) {
  const Route route = parse_route(request.target);
  if (!std::holds_alternative<SessionRoute>(route)) return handle(request);
  if (auto refused = refuse_bearer(request, route)) return std::move(*refused);
  const auto& session = std::get<SessionRoute>(route);
  if (session.action == SessionAction::view || session.action == SessionAction::control) return refuse_method(route);
  return sessions_.handle(request, session, body);
}

std::variant<Response, Service::Admission> Service::admit_control(const Request& request) {
  const Route route = parse_route(request.target);
  if (auto refused = refuse_bearer(request, route)) return std::move(*refused);
  Admission admission{std::get<SessionRoute>(route).session, {}, policy_.authority == nullptr};
  if (policy_.authority != nullptr) {
    const auto claims = policy_.authority->bearer(request);
    if (claims && claims->role == wire::Role::guest) admission.guest = claims->guest;
    admission.may_be_guest = claims && claims->role == wire::Role::admin;
  }
  const auto view = sessions_.view(admission.session);
  if (!view) return failed(view.error(), "cannot open the session '" + admission.session + "'");
  if (!*view) return not_found("there is no such session");
  return admission;
}

Response Service::ready() {
  if (const Status status = store_.ready(); !status) {
    log_(LogLevel::warning, "not ready: " + status.error().message);
    return problem(503, "unavailable", "the store is not ready");
  }
  return text_response(200, "text/plain", "ready\n");
}

Response Service::key(const KeyRoute& route) {
  const std::string fingerprint = public_key_.fingerprint();
  if (!route.fingerprint.empty() && route.fingerprint != fingerprint) return not_found("no key has this fingerprint");
  auto pem = public_key_.pem();
  if (!pem) return failed(pem.error(), "cannot give the public key");
  Response response = text_response(200, "application/x-pem-file", std::move(*pem));
  response.headers.emplace_back(wire::kKeyHeader, fingerprint);
  return response;
}

Response Service::read_file(const FileRoute& route, const Request& request) {
  const std::string doing = "cannot read '" + route.path.text() + "/" + route.name + "'";
  auto object = store_.open(route.path, route.name);
  const bool is_held = object || object.error().kind != ErrorKind::not_found;
  // A manifest may be held and yet be on its way: what its client wants is the audit, which follows the upload.
  if (!is_held || route.kind == wire::FileKind::manifest) {
    if (auto offset = upload_offset(route, request)) return std::move(*offset);
    // The upload that was interrupted may have come to its end instead.
    if (!is_held) object = store_.open(route.path, route.name);
  }
  if (!object && object.error().kind == ErrorKind::not_found) return not_found("no such file is held");
  if (!object) return failed(object.error(), doing);
  const auto sha256 = index_.sha256_of(route.path, **object);
  if (!sha256) return failed(sha256.error(), doing);

  const std::uint64_t size = (*object)->info().size_bytes;
  const std::string etag = entity_tag(*sha256);
  const Selection selection = select(request.headers, etag, size);
  const bool is_text = route.kind == wire::FileKind::manifest || route.kind == wire::FileKind::receipt;
  Response response = selected_response(selection, etag, size, is_text ? "text/plain; charset=utf-8" : "video/mp4");
  if (selection.status == 416) return response;
  response.headers.emplace_back(wire::kReprDigestHeader, digest_field(*sha256));
  if (selection.status != 304) response.object = ObjectBody{std::move(*object), selection.first, selection.length};
  return response;
}

Response Service::list(const ListingRoute& route) {
  const auto held = store_.list(route.path);
  if (!held && held.error().kind == ErrorKind::not_found) return not_found("no such recording is held");
  if (!held) return failed(held.error(), "cannot list '" + route.path.text() + "'");
  std::string lines;
  for (const store::ObjectInfo& info : *held) {
    const auto sha256 = index_.sha256_of(route.path, info);
    if (!sha256) {
      // What cannot be read is not held; the client sends it again and is told what happens then.
      log_(LogLevel::warning, sha256.error().message);
      continue;
    }
    lines += wire::format_held_file({info.name, info.size_bytes, *sha256}) + "\n";
  }
  return text_response(200, "application/jsonl", std::move(lines));
}

}  // namespace mc::server
