#include "control/link_state.hpp"

#include <cmath>

namespace mc::control {

Result<std::unique_ptr<LinkState>> LinkState::open(const ControlLinkOptions& options) {
  MC_TRY_ASSIGN(auto news, sys::Wakeup::open());
  MC_TRY_ASSIGN(auto poller, sys::Wakeup::open());
  return std::unique_ptr<LinkState>(new LinkState(options, std::move(news), std::move(poller)));
}

// Until the connection has told the session, what polling found out says more than "no connection".
std::optional<Error> LinkState::trouble() const {
  if (is_online_) return std::nullopt;
  const auto needs_a_person = [](const std::optional<Error>& e) { return e && e->kind != ErrorKind::unavailable; };
  if (needs_a_person(connection_trouble_) || !polling_trouble_) return connection_trouble_;
  return !connection_trouble_ || needs_a_person(polling_trouble_) ? polling_trouble_ : connection_trouble_;
}

ControlLink::News LinkState::take() {
  const std::lock_guard lock(mutex_);
  news_.clear();
  return {std::exchange(untaken_, std::nullopt), is_online_, trouble()};
}

Status LinkState::show(wire::SessionView view, std::optional<std::int64_t> asked_us) {
  if (view.name != session_) {
    return fail(ErrorKind::protocol, "the server told of another session than '" + session_ + "'");
  }
  std::string odd;
  {
    const std::lock_guard lock(mutex_);
    if (known_) {
      const bool is_other = view.id != known_->id, is_older = !is_other && view.version < known_->version;
      const bool is_later = asked_us ? *asked_us > known_->since_us : is_other;
      if ((is_other || is_older) && !is_later) return {};
      if (is_other) odd = "the session '" + session_ + "' of the server is another one now: " + view.id;
      if (is_older) {
        odd = "the session '" + session_ + "' of the server went back from version " + std::to_string(known_->version) +
              " to " + std::to_string(view.version);
      }
    }
    known_ = {view.id, view.version, monotonic_us()};
    untaken_ = std::move(view);
    news_.poke();
  }
  if (!odd.empty()) log_(LogLevel::warning, odd);
  return {};
}

void LinkState::note_trouble(std::optional<Error>& of_a_way, std::optional<Error> now) {
  std::string said;
  {
    const std::lock_guard lock(mutex_);
    const auto before = trouble();
    if (&of_a_way == &connection_trouble_ && std::exchange(is_online_, false)) poller_.poke();
    of_a_way = std::move(now);
    const auto after = trouble();
    const bool is_news = before.has_value() != after.has_value() || (after && after->message != before->message);
    if (is_news) news_.poke();
    if (is_news && after) said = after->message;
  }
  if (!said.empty()) log_(LogLevel::warning, said);
}

void LinkState::came_online() {
  {
    const std::lock_guard lock(mutex_);
    if (is_online_) return;
    is_online_ = true;
    is_quiet_ = false;
    connection_trouble_.reset();
    polling_trouble_.reset();
    news_.poke();
    poller_.poke();
  }
  log_(LogLevel::info, "connected to the session '" + session_ + "'");
}

void LinkState::stayed_offline(Error why) { note_trouble(connection_trouble_, std::move(why)); }
void LinkState::polled(std::optional<Error> failure) { note_trouble(polling_trouble_, std::move(failure)); }

void LinkState::set_quiet(bool is_quiet) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(is_quiet_, is_quiet) != is_quiet) poller_.poke();
}

bool LinkState::wants_polling() const {
  const std::lock_guard lock(mutex_);
  return !is_online_ || is_quiet_;
}

void LinkState::add_sample(const ClockSample& sample) {
  bool is_news = false;
  {
    const std::lock_guard lock(mutex_);
    const bool stepped = clock_.add(sample) == SessionClock::Added::stepped;
    is_news = stepped && !has_stepped_;
    has_stepped_ = stepped;
  }
  if (is_news) log_(LogLevel::warning, "the session clock was stepped: the server's clock was set");
}

std::optional<SessionClock::Estimate> LinkState::clock_at(std::int64_t monotonic_us) const {
  const std::lock_guard lock(mutex_);
  return clock_.at(monotonic_us);
}

std::optional<std::int64_t> LinkState::worst_round_trip_us() const {
  const std::lock_guard lock(mutex_);
  return clock_.worst_round_trip_us();
}

void LinkState::set_telemetry(wire::Telemetry telemetry) {
  telemetry.guest = guest_;
  telemetry.clock_offset_us.reset();
  telemetry.clock_bound_us.reset();
  telemetry.round_trip_us.reset();
  // Silence has minus infinity of decibels, and JSON has no word for that.
  if (telemetry.sound_peak_db && !std::isfinite(*telemetry.sound_peak_db)) telemetry.sound_peak_db.reset();
  const std::lock_guard lock(mutex_);
  if (telemetry_ == telemetry) return;
  telemetry_ = std::move(telemetry);
  ++telemetry_count_;
}

std::optional<wire::Telemetry> LinkState::telemetry() const {
  const std::lock_guard lock(mutex_);
  auto now = telemetry_;
  if (!now) return now;
  if (const auto estimate = clock_.at(monotonic_us())) {
    now->clock_offset_us = estimate->offset_us;
    now->clock_bound_us = estimate->bound_us;
  }
  now->round_trip_us = clock_.worst_round_trip_us();
  return now;
}

std::uint64_t LinkState::telemetry_count() const {
  const std::lock_guard lock(mutex_);
  return telemetry_count_;
}

}  // namespace mc::control
