// A client's side of a session's control connection (mc-session(7)): what is to be done comes in, what the rig says of
// itself goes out, and the clocks are compared for as long as it is there. For an agent whose recording must not care:
// nothing here blocks the caller, and nothing ends it but the destructor.
//
//   MC_TRY_ASSIGN(const auto link, ControlLink::open({.base_url = …, .session = "studio-a", .guest = "alice", …}));
//   poll(link->fd(), …)                                   // readable: there is something new
//   const auto news = link->take();
//   if (news.view) obey(*news.view);                      // a level, not an edge: record, for a take is recording
//   link->set_telemetry(…);                               // as often as wanted
//   link->clock_at(monotonic_us)                          // session time there, and how wrong that can be
//
// Two ways lead to the session. The WebSocket (RFC 6455) is the quick one, and the clock is compared over it. While it
// is not there, or nothing has been heard on it for some seconds, the session is asked for by GET, every `poll_ms`, so
// that a rig behind a proxy that lets no WebSocket through obeys within about a second; the view's own time is then
// what the clock is compared by, within half of what the request took. A proxy named in the environment (https_proxy …)
// is used by that second way only, for libcurl is who knows it; the same goes for redirects.
//
// The connection is made again for ever, with backoff. What stands in the way is told as `trouble`, and ends with it:
//   permission   the token was refused (401, 403); its file is read again each time
//   not_found    there is no such session on the server (404)
//   refused      the certificate is not trusted; the answer to the upgrade was no; a newer connection of the same guest
//                took over (4000): then the next try waits ten times as long as the backoff's longest, so that two
//                agents of one guest do not throw each other out all the time
//   protocol     the server said what is not understood, or too much of it
//   config       the CA file cannot be used any more
//   unavailable  everything else: names, networks, a server that stops, nothing heard for `silence_ms`
//
// Views: one that the server made before another that is known already (a lower version) is left out. But what answers
// a question that was asked after the known one had come is believed whatever it is, and the log has it when that is
// another session under the same name, or an older version: the server's store was replaced.
//
// Bounded: one message of 16 MiB at most in, one out; telemetry that was not sent yet is replaced by newer one, and
// sent ten times a second at most. Its list of alarms is cut where the server would refuse it for its size.
//
// TLS is 1.2 or newer, and certificates are always verified, by name or by address; the system's store or ca_file is
// read anew for each connection. Two threads of its own, and one for a name that is looked up, which nobody waits for.
// All functions may be called from any thread; `log` is called from these.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/log.hpp"
#include "control/session_clock.hpp"
#include "http/backoff.hpp"
#include "http/credential.hpp"
#include "wire/session_view.hpp"

namespace mc::control {

struct ControlLinkOptions {
  std::string base_url;        // as http::check_base_url gives it
  std::string session, guest;  // guest empty: only looks on
  std::string agent;           // "mc-guest 1.0.0"
  std::string ca_file;         // PEM; empty: the system's store
  std::shared_ptr<http::Credential> credential;
  std::uint32_t connect_timeout_ms = 10'000;  // from the name to the answer to the upgrade
  std::uint32_t poll_ms = 1'000;
  std::uint32_t silence_ms = 30'000;  // nothing came for so long, pings included: the connection is dead
  http::BackoffOptions backoff{.base_ms = 250, .cap_ms = 3'000, .floor_ms = 20};
  Log log = no_log();
};

class ControlLink {
 public:
  // Kinds: usage (the URL or a name cannot be one), config (the CA file), unavailable (no descriptors or threads).
  static Result<std::unique_ptr<ControlLink>> open(ControlLinkOptions options);
  ~ControlLink();  // at once, whatever is going on
  ControlLink(const ControlLink&) = delete;
  ControlLink& operator=(const ControlLink&) = delete;

  int fd() const;  // readable when take() has something new; only for poll(2)
  struct News {
    std::optional<wire::SessionView> view;  // the newest that was not taken yet, by whichever way it came
    bool online = false;                    // the connection is there, and a view has come over it
    std::optional<Error> trouble;           // what stands in the way at the moment
  };
  News take();

  // `guest`, and what the clock has to say, are filled in here; nothing is sent for one who only looks on.
  void set_telemetry(wire::Telemetry telemetry);
  std::optional<SessionClock::Estimate> clock_at(std::int64_t monotonic_us) const;  // survives the connection
  std::optional<std::int64_t> worst_round_trip_us() const;

 private:
  struct Impl;
  explicit ControlLink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mc::control
