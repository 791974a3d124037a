// Sessions over HTTP (mc-session(7)): the director's decisions, each a compare-and-swap of the session's document, and
// what everybody is told. No sockets: requests in, responses out; the control connections are control_connection.hpp's.
//
//   sessions.handle(request, route, body)   create, view, guests, rec, stop, finish, join
//   sessions.view(session)                  what a control connection sends
//   sessions.recording_changed(path)        by whoever stored a file or made a receipt
//
// Whether a take is Synced is looked up in the store, never remembered as a fact: what is cached here is forgotten when
// a recording of the take changes, and after a few seconds anyway. Any thread; blocks on the store.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "server/authority.hpp"
#include "server/control_log.hpp"
#include "server/message.hpp"
#include "server/route.hpp"
#include "server/session_board.hpp"
#include "store/store.hpp"
#include "wire/control.hpp"

namespace mc::server {

class Sessions {
 public:
  // `authority` and `control_log` may be null: everybody may do everything; nowhere. All is borrowed.
  Sessions(store::Store& store, std::string key_fingerprint, Authority* authority, ControlLog* control_log, Log log,
           const Clock& clock = system_clock());

  Response handle(const Request& request, const SessionRoute& route, std::string_view body);
  // Nothing: there is no such session.
  Result<std::optional<wire::SessionView>> view(const std::string& session);
  void recording_changed(const wire::RecordingPath& path);
  SessionBoard& board() { return board_; }
  const Clock& clock() const { return clock_; }

 private:
  struct Loaded {
    wire::Session session;
    std::string token;
  };
  // Changes the document, or says why not; called again when somebody else was faster.
  using Change = std::function<Result<std::optional<wire::Refused>>(wire::Session&)>;
  struct Changed {
    wire::Session session;  // as it is now
    std::optional<wire::Refused> refused;
  };

  Result<std::optional<Loaded>> load(const std::string& session);
  // not_found: no such session.
  Result<Changed> change(const std::string& session, const Change& how);
  Response create(const Request& request, std::string_view body);
  Response invite(const Request& request, const std::string& session, std::string_view body);
  Response command(const Request& request, const SessionRoute& route, std::string_view body);
  Response join(const Request& request, const std::string& session, std::string_view body);
  Response show(const Request& request, const std::string& session);
  Response failed(const Error& error, const std::string& doing) const;

  wire::SessionView view_of(const wire::Session& session);
  std::vector<wire::GuestOfTake> holdings(const std::string& session, const wire::Take& take);
  std::vector<wire::GuestOfTake> look_up(const std::string& session, const wire::Take& take);
  wire::Decision decision(const Request& request) const;
  // `invitations` are what is told, once; the session keeps hashes.
  Status invite_all(wire::Session& session, const std::vector<std::string>& guests,
                    std::vector<wire::Invitation>& invitations) const;
  bool may_try_code(const std::string& session);
  void note(const char* event, const Request& request, const std::string& session, json::object more);

  store::Store& store_;
  const std::string key_fingerprint_;
  Authority* const authority_;
  ControlLog* const control_log_;
  Log log_;
  const Clock& clock_;
  SessionBoard board_;

  std::mutex mutex_;
  struct Cached {
    std::vector<std::string> guests;
    std::vector<wire::GuestOfTake> holdings;
    std::int64_t at_ns = 0;  // monotonic
  };
  std::map<std::pair<std::string, std::string>, Cached> cache_;  // by session and take
  struct WrongCodes {
    std::int64_t since_ns = 0;  // monotonic
    int count = 0;
  };
  std::map<std::string, WrongCodes> wrong_codes_;  // by session
};

}  // namespace mc::server
