#include "server/sessions.hpp"

#include <algorithm>
#include <utility>

#include "digest/hmac.hpp"
#include "digest/sha256.hpp"
#include "wire/join_url.hpp"

namespace mc::server {
namespace {

constexpr int kMostTries = 1000;  // of a compare-and-swap; each that fails is somebody else's that did not
constexpr std::int64_t kCacheNs = 5'000'000'000;
constexpr std::size_t kMostCached = 10'000;
constexpr int kWrongCodesInAMinute = 10;
constexpr std::int64_t kMinuteNs = 60'000'000'000;
constexpr std::size_t kMostKeyBytes = 64;

bool is_idempotency_key(std::string_view text) {
  return !text.empty() && text.size() <= kMostKeyBytes &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

std::string code_hash(const std::string& session_id, const std::string& guest, const std::string& code) {
  return digest::sha256_hex(as_bytes(session_id + "\n" + guest + "\n" + code));
}

Response json_response(int status, std::string text) {
  return text_response(status, "application/json", std::move(text) + "\n");
}

Response refused_response(const wire::Refused& refused) {
  return text_response(409, "application/problem+json", wire::format_refused(refused) + "\n");
}

Response no_session() { return not_found("there is no such session"); }

Response bad_body(const Error& error) {
  return problem(400, "bad-request", "the request is not understood", error.message);
}

// For people, of what a forced finish leaves out.
std::vector<std::string> what_is_missing(const std::vector<wire::GuestOfTake>& guests) {
  std::vector<std::string> lines;
  for (const wire::GuestOfTake& guest : guests) {
    if (guest.holding == wire::Holding::nothing) lines.push_back(guest.guest + ": nothing has come");
    if (guest.holding == wire::Holding::part) lines.push_back(guest.guest + ": not all of it has come");
  }
  return lines;
}

}  // namespace

Sessions::Sessions(store::Store& store, std::string key_fingerprint, Authority* authority, ControlLog* control_log,
                   Log log, const Clock& clock)
    : store_(store),
      key_fingerprint_(std::move(key_fingerprint)),
      authority_(authority),
      control_log_(control_log),
      log_(std::move(log)),
      clock_(clock) {}

Response Sessions::failed(const Error& error, const std::string& doing) const {
  if (error.kind == ErrorKind::not_found) return no_session();
  log_(LogLevel::warning, doing + ": " + error.message);
  return store_problem(error);
}

void Sessions::note(const char* event, const Request& request, const std::string& session, json::object more) {
  if (control_log_ == nullptr) return;
  more["session"] = session;
  more["remote"] = request.remote;
  if (authority_ != nullptr) {
    if (const auto claims = authority_->bearer(request)) {
      more["role"] = wire::name(claims->role);
      if (!claims->id.empty()) more["token_id"] = claims->id;
    }
  }
  control_log_->add(event, std::move(more));
}

wire::Decision Sessions::decision(const Request& request) const {
  return {clock_.wall_ns(), request.headers.idempotency_key.value_or("")};
}

// --- the document -------------------------------------------------------------------------------------------------

Result<std::optional<Sessions::Loaded>> Sessions::load(const std::string& session) {
  MC_TRY_ASSIGN(auto document, store_.read_document(session));
  if (!document) return std::nullopt;
  MC_TRY_ASSIGN(auto parsed, wire::parse_session(document->text));
  if (parsed.name != session) {
    return fail(ErrorKind::damaged, "the document of the session '" + session + "' is that of '" + parsed.name + "'");
  }
  return Loaded{std::move(parsed), std::move(document->token)};
}

Result<Sessions::Changed> Sessions::change(const std::string& session, const Change& how) {
  for (int i = 0; i < kMostTries; ++i) {
    MC_TRY_ASSIGN(auto loaded, load(session));
    if (!loaded) return fail(ErrorKind::not_found, "no session '" + session + "'");
    wire::Session next = loaded->session;
    MC_TRY_ASSIGN(auto refused, how(next));
    if (refused || next == loaded->session) return Changed{std::move(next), std::move(refused)};
    const std::string text = wire::format_session(next);
    if (text.size() > wire::kMaxSessionBytes) return fail(ErrorKind::refused, "the session has become too large");
    MC_TRY_ASSIGN(const bool swapped, store_.swap_document(session, loaded->token, text));
    if (!swapped) continue;
    board_.tell(session, Notice::decided);
    return Changed{std::move(next), std::nullopt};
  }
  return fail(ErrorKind::unavailable, "too many decisions at once");
}

// --- what the store holds -----------------------------------------------------------------------------------------

std::vector<wire::GuestOfTake> Sessions::look_up(const std::string& session, const wire::Take& take) {
  std::vector<wire::GuestOfTake> found;
  const auto recordings = store_.recordings(session, take.name);
  if (!recordings) log_(LogLevel::warning, recordings.error().message);
  const std::string receipt = wire::receipt_name(key_fingerprint_);
  for (const std::string& name : take.guests) {
    wire::GuestOfTake guest{name, wire::Holding::nothing, {}};
    bool has_all = true;
    if (recordings) {
      for (const std::string& recording : *recordings) {
        if (!wire::is_same_or_rebound(recording, name)) continue;
        guest.recordings.push_back(recording);
        // What cannot be looked at is not held.
        has_all = has_all && store_.open({session, take.name, recording}, receipt).has_value();
      }
    }
    if (!guest.recordings.empty()) guest.holding = has_all ? wire::Holding::all : wire::Holding::part;
    found.push_back(std::move(guest));
  }
  return found;
}

std::vector<wire::GuestOfTake> Sessions::holdings(const std::string& session, const wire::Take& take) {
  const auto key = std::pair(session, take.name);
  const std::int64_t now = clock_.monotonic_ns();
  {
    const std::lock_guard lock(mutex_);
    const auto cached = cache_.find(key);
    if (cached != cache_.end() && now - cached->second.at_ns < kCacheNs && cached->second.guests == take.guests) {
      return cached->second.holdings;
    }
    // Put there before the look: a change that comes meanwhile takes it away, and then the look is not kept.
    if (cache_.size() >= kMostCached) cache_.clear();
    cache_[key] = {{}, {}, now};
  }
  auto found = look_up(session, take);
  const std::lock_guard lock(mutex_);
  const auto cached = cache_.find(key);
  if (cached != cache_.end() && cached->second.at_ns == now) cached->second = {take.guests, found, now};
  return found;
}

void Sessions::recording_changed(const wire::RecordingPath& path) {
  {
    const std::lock_guard lock(mutex_);
    cache_.erase({path.session, path.take});
  }
  board_.tell(path.session, Notice::changed);
}

wire::SessionView Sessions::view_of(const wire::Session& session) {
  wire::SessionView view;
  view.name = session.name;
  view.id = session.id;
  view.version = session.version;
  view.now_ns = clock_.wall_ns();
  view.key = key_fingerprint_;
  for (const wire::RosterEntry& entry : session.roster) {
    SessionBoard::Standing standing = board_.of(session.name, entry.guest);
    view.guests.push_back({entry.guest, standing.online, std::move(standing.telemetry)});
  }
  for (const wire::Take& take : session.takes) {
    wire::TakeView of_take;
    of_take.name = take.name;
    of_take.t0_ns = take.t0_ns;
    of_take.guests = holdings(session.name, take);
    of_take.state = wire::state_of(take, of_take.guests);
    if (take.stop) of_take.t1_ns = take.t1_ns;
    if (take.finish) of_take.missing = take.finish->missing;
    view.takes.push_back(std::move(of_take));
  }
  return view;
}

Result<std::optional<wire::SessionView>> Sessions::view(const std::string& session) {
  MC_TRY_ASSIGN(const auto loaded, load(session));
  if (!loaded) return std::nullopt;
  return view_of(loaded->session);
}

// --- requests -----------------------------------------------------------------------------------------------------

Response Sessions::handle(const Request& request, const SessionRoute& route, std::string_view body) {
  if (body.size() > wire::kMaxControlBytes) return problem(413, "too-large", "the body is too large");
  const auto& key = request.headers.idempotency_key;
  if (key && !is_idempotency_key(*key)) {
    return problem(400, "bad-request", "Idempotency-Key must be 1 to 64 printable characters");
  }
  switch (route.action) {
    case SessionAction::create: return create(request, body);
    case SessionAction::view: return show(request, route.session);
    case SessionAction::guests: return invite(request, route.session, body);
    case SessionAction::join: return join(request, route.session, body);
    case SessionAction::rec:
    case SessionAction::stop:
    case SessionAction::finish: return command(request, route, body);
    case SessionAction::control: break;
  }
  Response response = problem(426, "upgrade-required", "this is a WebSocket (RFC 6455)");
  response.headers.emplace_back("Upgrade", "websocket");
  return response;
}

Response Sessions::show(const Request&, const std::string& session) {
  auto view = this->view(session);
  if (!view) return failed(view.error(), "cannot show the session '" + session + "'");
  if (!*view) return no_session();
  return json_response(200, json::to_text(wire::to_json(**view)));
}

// Who is in the roster already gets another code, and the one before is void.
Status Sessions::invite_all(wire::Session& session, const std::vector<std::string>& guests,
                            std::vector<wire::Invitation>& invitations) const {
  invitations.clear();
  for (const std::string& guest : guests) {
    wire::RosterEntry entry{guest, {}};
    std::string code;
    if (authority_ != nullptr) {
      MC_TRY_ASSIGN(const ByteBuffer random, digest::random_bytes(5));
      code = wire::format_join_code(load_be(random.data(), random.size()));
      entry.code_sha256 = code_hash(session.id, guest, code);
    }
    invitations.push_back({guest, std::move(code)});
    if (wire::add_guest(session, entry)) continue;
    const auto held = std::ranges::find(session.roster, guest, &wire::RosterEntry::guest);
    if (held->code_sha256 == entry.code_sha256) continue;
    held->code_sha256 = std::move(entry.code_sha256);
    ++session.version;
  }
  return {};
}

Response Sessions::create(const Request& request, std::string_view body) {
  auto wanted = wire::parse_new_session(body);
  if (!wanted) return bad_body(wanted.error());
  if (wanted->session.empty()) return problem(400, "bad-request", "'session' is missing");
  const std::string doing = "cannot create the session '" + wanted->session + "'";
  wire::Session session;
  session.name = wanted->session;
  session.created = decision(request);
  session.created_ns = session.created.at_ns;
  const auto id = digest::random_bytes(16);
  if (!id) return failed(id.error(), doing);
  session.id = digest::to_hex(*id);

  auto existing = load(session.name);
  if (!existing) return failed(existing.error(), doing);
  wire::SessionCreated answer;
  const auto taken = [] {
    return problem(409, "session-exists", "there is a session of this name", "choose another name");
  };
  if (!*existing) {
    // Its first version is 1, however many are invited.
    if (auto invited = invite_all(session, wanted->guests, answer.invitations); !invited)
      return failed(invited.error(), doing);
    session.version = 1;
    const auto swapped = store_.swap_document(session.name, std::nullopt, wire::format_session(session));
    if (!swapped) return failed(swapped.error(), doing);
    if (!*swapped) return taken();
  } else {
    // The answer to the same request was lost, and the codes with it.
    const wire::Decision& created = (*existing)->session.created;
    if (created.key.empty() || created.key != session.created.key) return taken();
    auto changed = change(session.name, [&](wire::Session& next) -> Result<std::optional<wire::Refused>> {
      MC_TRY(invite_all(next, wanted->guests, answer.invitations));
      return std::nullopt;
    });
    if (!changed) return failed(changed.error(), doing);
    session = std::move(changed->session);
  }
  if (authority_ != nullptr) {
    wire::TokenClaims claims;
    claims.role = wire::Role::director;
    claims.session = session.name;
    auto token = authority_->mint(claims);
    if (!token) return failed(token.error(), doing);
    answer.director_token = std::move(*token);
  }
  note("session-created", request, session.name, {{"guests", session.roster.size()}});
  answer.session = view_of(session);
  return json_response(201, wire::format_session_created(answer));
}

Response Sessions::invite(const Request& request, const std::string& session, std::string_view body) {
  const auto wanted = wire::parse_new_session(body);
  if (!wanted) return bad_body(wanted.error());
  wire::SessionCreated answer;
  const auto changed = change(session, [&](wire::Session& next) -> Result<std::optional<wire::Refused>> {
    MC_TRY(invite_all(next, wanted->guests, answer.invitations));
    if (next.roster.size() > wire::kMaxSessionGuests) {
      return wire::Refused{wire::TakeState::standby, "", "the session has too many guests"};
    }
    return std::nullopt;
  });
  if (!changed) return failed(changed.error(), "cannot invite to the session '" + session + "'");
  if (changed->refused) return refused_response(*changed->refused);
  json::array guests;
  for (const std::string& guest : wanted->guests) guests.emplace_back(guest);
  note("invited", request, session, {{"guests", std::move(guests)}});
  answer.session = view_of(changed->session);
  return json_response(200, wire::format_session_created(answer));
}

Response Sessions::command(const Request& request, const SessionRoute& route, std::string_view body) {
  const auto wanted = wire::parse_take_command(body);
  if (!wanted) return bad_body(wanted.error());
  const bool finishes = route.action == SessionAction::finish;
  if (finishes && wanted->take.empty()) return problem(400, "bad-request", "'take' is missing");
  const std::int64_t worst_ns = board_.worst_round_trip_ns(route.session);
  const auto changed = change(route.session, [&](wire::Session& next) -> Result<std::optional<wire::Refused>> {
    // Anew with each try: what was decided meanwhile came before us.
    const wire::Decision now = decision(request);
    if (route.action == SessionAction::rec) {
      return wire::start_take(next, now, wire::start_time_ns(now.at_ns, worst_ns));
    }
    if (route.action == SessionAction::stop) return wire::stop_take(next, wanted->take, now);
    const wire::Take* take = next.find(wanted->take);
    if (take == nullptr) return wire::finish_take(next, wanted->take, wire::TakeState::standby, now, {});
    const auto held = look_up(route.session, *take);
    return wire::finish_take(next, wanted->take, wire::state_of(*take, held), now, what_is_missing(held));
  });
  const char* word = route.action == SessionAction::rec ? "rec" : finishes ? "finish" : "stop";
  if (!changed)
    return failed(changed.error(), std::string("cannot ") + word + " in the session '" + route.session + "'");
  if (changed->refused) return refused_response(*changed->refused);
  const wire::Session& session = changed->session;
  json::object noted;
  if (!wanted->take.empty()) noted["take"] = wanted->take;
  if (wanted->take.empty() && !session.takes.empty()) noted["take"] = session.takes.back().name;
  note(word, request, route.session, std::move(noted));
  return json_response(200, json::to_text(wire::to_json(view_of(session))));
}

// --- joining ------------------------------------------------------------------------------------------------------

bool Sessions::may_try_code(const std::string& session) {
  const std::lock_guard lock(mutex_);
  const auto found = wrong_codes_.find(session);
  if (found == wrong_codes_.end()) return true;
  if (clock_.monotonic_ns() - found->second.since_ns >= kMinuteNs) {
    wrong_codes_.erase(found);
    return true;
  }
  return found->second.count < kWrongCodesInAMinute;
}

Response Sessions::join(const Request& request, const std::string& session, std::string_view body) {
  const auto wanted = wire::parse_join_request(body);
  if (!wanted) return bad_body(wanted.error());
  const auto loaded = load(session);
  if (!loaded) return failed(loaded.error(), "cannot join the session '" + session + "'");
  if (authority_ == nullptr && *loaded && (*loaded)->session.has_guest(wanted->guest)) {
    return json_response(200, wire::format_join_answer({{}, key_fingerprint_}));
  }
  if (!may_try_code(session)) {
    Response response = problem(429, "too-many-requests", "too many wrong codes", "try again in a minute");
    response.headers.emplace_back("Retry-After", "60");
    return response;
  }
  const auto code = wire::parse_join_code(wanted->code);
  bool is_invited = false;
  if (*loaded && code && authority_ != nullptr) {
    const wire::Session& held = (*loaded)->session;
    const auto entry = std::ranges::find(held.roster, wanted->guest, &wire::RosterEntry::guest);
    const std::string hash = code_hash(held.id, wanted->guest, *code);
    is_invited = entry != held.roster.end() && !entry->code_sha256.empty() &&
                 digest::equal_in_constant_time(as_bytes(entry->code_sha256), as_bytes(hash));
  }
  if (!is_invited) {
    {
      const std::lock_guard lock(mutex_);
      if (wrong_codes_.size() >= kMostCached) wrong_codes_.clear();
      WrongCodes& wrong = wrong_codes_[session];
      if (wrong.count++ == 0) wrong.since_ns = clock_.monotonic_ns();
    }
    if (control_log_ != nullptr) {
      control_log_->add_limited("join-refused", {{"session", session}, {"remote", request.remote}});
    }
    return problem(403, "not-invited", "no such guest is invited with this code");
  }
  wire::TokenClaims claims;
  claims.role = wire::Role::guest;
  claims.session = session;
  claims.guest = wanted->guest;
  auto token = authority_->mint(claims);
  if (!token) return failed(token.error(), "cannot make a token");
  note("joined", request, session, {{"guest", wanted->guest}});
  return json_response(200, wire::format_join_answer({std::move(*token), key_fingerprint_}));
}

}  // namespace mc::server
