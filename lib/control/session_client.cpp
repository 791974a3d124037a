#include "control/session_client.hpp"

#include <algorithm>
#include <cerrno>

#include "digest/sha256.hpp"
#include "http/answer.hpp"
#include "http/backoff.hpp"
#include "sys/fd.hpp"

namespace mc::control {
namespace {

constexpr std::size_t kKeyBytes = 16;

Error no_session(const std::string& session) {
  return {ErrorKind::not_found, "there is no session '" + session + "' on the server", 0, {}};
}

}  // namespace

Result<SessionClient> SessionClient::open(SessionClientOptions options) {
  MC_TRY_ASSIGN(http::Client client, http::Client::open(options.http));
  return SessionClient(std::move(options), std::move(client));
}

Result<http::Response> SessionClient::ask(const std::string& method, const std::string& target, const std::string& body,
                                          const char* doing, std::string key) {
  if (key.empty()) {
    MC_TRY_ASSIGN(key, new_key());
  }
  http::Request request;
  request.method = method;
  request.url = options_.base_url + target;
  if (method == "POST") {
    request.headers = {{wire::kIdempotencyHeader, key}, {"Content-Type", "application/json"}};
    request.body = as_bytes(body);
  }
  const std::int64_t begun_ns = system_clock().monotonic_ns();
  http::Backoff backoff({}, http::random_fraction());
  bool has_said = false;
  for (;;) {
    auto response = client_.perform(request);
    if (!response && response.error().sys_errno == EINTR) return response;
    std::optional<Error> failure;
    if (!response) {
      failure = response.error();
    } else if (!response->ok() && response->status != 409) {
      failure = http::status_error(*response, doing);
    }
    if (!failure) return response;
    const std::uint32_t asked_ms = response ? http::retry_after_ms(*response) : 0;
    const bool may_help = failure->kind == ErrorKind::unavailable;
    auto wait_ms = static_cast<std::int64_t>(backoff.next_ms(asked_ms));
    bool is_over = false;
    if (options_.patience_ms) {
      const std::int64_t left_ms = *options_.patience_ms - (system_clock().monotonic_ns() - begun_ns) / 1'000'000;
      is_over = left_ms <= 0;
      wait_ms = std::clamp<std::int64_t>(left_ms, 0, wait_ms);
    }
    if (!may_help || is_over) {
      // What the caller makes of a 404 is its own affair.
      if (response && response->status == 404) return response;
      return fail(std::move(*failure));
    }
    if (!std::exchange(has_said, true)) {
      options_.log(LogLevel::warning, "waiting for the server: " + failure->message);
    }
    MC_TRY_ASSIGN(const bool stopped, sys::wait_readable(options_.http.stop_fd, static_cast<int>(wait_ms)));
    if (stopped) return fail(ErrorKind::unavailable, "stopped by a signal", EINTR);
  }
}

Result<std::string> SessionClient::new_key() {
  MC_TRY_ASSIGN(const ByteBuffer key, digest::random_bytes(kKeyBytes));
  return digest::to_hex(key);
}

Result<wire::SessionCreated> SessionClient::create(const std::string& session, const std::vector<std::string>& guests,
                                                   const std::string& key) {
  const std::string body = wire::format_new_session({session, guests});
  MC_TRY_ASSIGN(const auto response, ask("POST", wire::sessions_target(), body, "create the session", key));
  if (!response.ok()) return fail(http::status_error(response, "create the session"));
  return wire::parse_session_created(response.body);
}

Result<wire::SessionCreated> SessionClient::invite(const std::string& session, const std::vector<std::string>& guests) {
  MC_TRY_ASSIGN(const auto response,
                ask("POST", wire::session_target(session, "guests"), wire::format_new_session({{}, guests}), "invite"));
  if (response.status == 404) return fail(no_session(session));
  if (!response.ok()) return fail(http::status_error(response, "invite"));
  return wire::parse_session_created(response.body);
}

Result<wire::SessionView> SessionClient::view(const std::string& session) {
  MC_TRY_ASSIGN(const auto response, ask("GET", wire::session_target(session), {}, "read the session"));
  if (response.status == 404) return fail(no_session(session));
  if (!response.ok()) return fail(http::status_error(response, "read the session"));
  MC_TRY_ASSIGN(const auto document, json::parse_object(response.body));
  return wire::session_view_from_json(document);
}

Result<wire::JoinAnswer> SessionClient::join(const std::string& session, const std::string& guest,
                                             const std::string& code) {
  MC_TRY_ASSIGN(const auto response,
                ask("POST", wire::session_target(session, "join"), wire::format_join_request({guest, code}), "join"));
  if (response.status == 404) return fail(no_session(session));
  if (!response.ok()) return fail(http::status_error(response, "join"));
  return wire::parse_join_answer(response.body);
}

Result<std::string> SessionClient::public_key(const std::string& fingerprint) {
  MC_TRY_ASSIGN(auto response, ask("GET", "/v1/keys/" + fingerprint, {}, "get the server's key"));
  if (!response.ok()) return fail(http::status_error(response, "get the server's key"));
  return std::move(response.body);
}

Result<CommandAnswer> SessionClient::command(const std::string& session, Command command, const std::string& take) {
  const char* action = command == Command::rec ? "rec" : command == Command::stop ? "stop" : "finish";
  MC_TRY_ASSIGN(const auto response,
                ask("POST", wire::session_target(session, action), wire::format_take_command({take}), action));
  if (response.status == 404) return fail(no_session(session));
  CommandAnswer answer;
  if (response.status == 409) {
    answer.refused = wire::parse_refused(response.body);
    if (answer.refused) return answer;
  }
  if (!response.ok()) return fail(http::status_error(response, action));
  MC_TRY_ASSIGN(const auto document, json::parse_object(response.body));
  MC_TRY_ASSIGN(answer.view, wire::session_view_from_json(document));
  return answer;
}

}  // namespace mc::control
