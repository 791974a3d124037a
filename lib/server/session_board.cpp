#include "server/session_board.hpp"

#include <algorithm>

namespace mc::server {

void SessionBoard::join(const std::string& session, const std::string& guest,
                        std::shared_ptr<SessionSubscriber> subscriber) {
  std::vector<std::shared_ptr<SessionSubscriber>> replaced;
  {
    const std::lock_guard lock(mutex_);
    Room& room = rooms_[session];
    for (auto seat = room.seats.begin(); seat != room.seats.end();) {
      const bool same = !guest.empty() && seat->second.guest == guest;
      if (same) {
        if (auto older = seat->second.subscriber.lock()) replaced.push_back(std::move(older));
      }
      seat = same ? room.seats.erase(seat) : std::next(seat);
    }
    room.seats[subscriber.get()] = {guest, subscriber};
  }
  for (const auto& older : replaced) older->on_replaced();
  if (!guest.empty()) tell(session, Notice::changed);
}

void SessionBoard::leave(const std::string& session, const SessionSubscriber* subscriber) {
  bool was_guest = false;
  {
    const std::lock_guard lock(mutex_);
    const auto room = rooms_.find(session);
    if (room == rooms_.end()) return;
    const auto seat = room->second.seats.find(subscriber);
    if (seat == room->second.seats.end()) return;
    was_guest = !seat->second.guest.empty();
    room->second.seats.erase(seat);
    // The last words of a guest stay while somebody is in the room.
    if (room->second.seats.empty()) rooms_.erase(room);
  }
  if (was_guest) tell(session, Notice::changed);
}

std::vector<std::shared_ptr<SessionSubscriber>> SessionBoard::everybody(const std::string& session,
                                                                        bool only_lookers_on) const {
  std::vector<std::shared_ptr<SessionSubscriber>> found;
  const std::lock_guard lock(mutex_);
  const auto room = rooms_.find(session);
  if (room == rooms_.end()) return found;
  for (const auto& [raw, seat] : room->second.seats) {
    if (only_lookers_on && !seat.guest.empty()) continue;
    if (auto subscriber = seat.subscriber.lock()) found.push_back(std::move(subscriber));
  }
  return found;
}

void SessionBoard::put(const std::string& session, const wire::Telemetry& telemetry) {
  {
    const std::lock_guard lock(mutex_);
    const auto room = rooms_.find(session);
    if (room == rooms_.end()) return;
    room->second.telemetry[telemetry.guest] = telemetry;
  }
  for (const auto& subscriber : everybody(session, true)) subscriber->on_telemetry(telemetry);
}

void SessionBoard::tell(const std::string& session, Notice notice) {
  for (const auto& subscriber : everybody(session, notice == Notice::changed)) subscriber->on_notice(notice);
}

bool SessionBoard::is_online(const Room& room, const std::string& guest) const {
  return std::ranges::any_of(room.seats, [&](const auto& seat) { return seat.second.guest == guest; });
}

SessionBoard::Standing SessionBoard::of(const std::string& session, const std::string& guest) const {
  const std::lock_guard lock(mutex_);
  Standing standing;
  const auto room = rooms_.find(session);
  if (room == rooms_.end()) return standing;
  standing.online = is_online(room->second, guest);
  const auto said = room->second.telemetry.find(guest);
  if (said != room->second.telemetry.end()) standing.telemetry = said->second;
  return standing;
}

std::int64_t SessionBoard::worst_round_trip_ns(const std::string& session) const {
  const std::lock_guard lock(mutex_);
  std::int64_t worst_us = 0;
  const auto room = rooms_.find(session);
  if (room == rooms_.end()) return 0;
  for (const auto& [guest, telemetry] : room->second.telemetry) {
    if (is_online(room->second, guest)) worst_us = std::max(worst_us, telemetry.round_trip_us.value_or(0));
  }
  constexpr std::int64_t kMostUs = 3'600'000'000;
  return std::min(worst_us, kMostUs) * 1000;
}

std::size_t SessionBoard::subscribers() const {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [name, room] : rooms_) count += room.seats.size();
  return count;
}

}  // namespace mc::server
