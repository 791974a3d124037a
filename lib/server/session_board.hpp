// Who is connected to which session, and what the rigs last said of themselves: in memory, and nowhere else. What
// matters is in the session's document; this may be lost at any time.
//
//   board.join(session, guest, subscriber)    // guest empty: one who looks on
//   board.put(session, telemetry);            // by the guest's own connection
//   board.tell(session, Notice::decided);     // wakes subscribers
//   board.leave(subscriber);
//
// Any thread. Subscribers are called without a lock held, on the caller's thread, and must not block.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "wire/session_view.hpp"

namespace mc::server {

enum class Notice : std::uint8_t {
  decided,  // the document is another one: everybody wants to know
  changed,  // who is there, or what is held: for those who look on
};

class SessionSubscriber {
 public:
  virtual ~SessionSubscriber() = default;
  virtual void on_notice(Notice notice) = 0;
  virtual void on_telemetry(const wire::Telemetry& telemetry) = 0;
  virtual void on_replaced() = 0;  // a newer connection of the same guest has come
};

class SessionBoard {
 public:
  void join(const std::string& session, const std::string& guest, std::shared_ptr<SessionSubscriber> subscriber);
  // Nothing happens when it never joined, or was replaced.
  void leave(const std::string& session, const SessionSubscriber* subscriber);

  void put(const std::string& session, const wire::Telemetry& telemetry);
  void tell(const std::string& session, Notice notice);

  struct Standing {
    bool online = false;
    std::optional<wire::Telemetry> telemetry;
  };
  Standing of(const std::string& session, const std::string& guest) const;
  std::int64_t worst_round_trip_ns(const std::string& session) const;  // of those who are online; 0: nobody knows
  std::size_t subscribers() const;

 private:
  struct Seat {
    std::string guest;
    std::weak_ptr<SessionSubscriber> subscriber;
  };
  struct Room {
    std::map<const SessionSubscriber*, Seat> seats;
    std::map<std::string, wire::Telemetry> telemetry;
  };
  bool is_online(const Room& room, const std::string& guest) const;
  std::vector<std::shared_ptr<SessionSubscriber>> everybody(const std::string& session, bool only_lookers_on) const;

  mutable std::mutex mutex_;
  std::map<std::string, Room> rooms_;
};

}  // namespace mc::server
