#include "control/session_poller.hpp"

#include <algorithm>
#include <cerrno>

#include "sys/fd.hpp"

namespace mc::control {

Result<std::unique_ptr<SessionPoller>> SessionPoller::open(const ControlLinkOptions& options, LinkState& state) {
  MC_TRY_ASSIGN(auto stop, sys::Wakeup::open());
  SessionClientOptions client_options{.base_url = options.base_url, .http = {}, .patience_ms = 0};
  client_options.http.ca_file = options.ca_file;
  client_options.http.user_agent = options.agent;
  client_options.http.credential = options.credential;
  client_options.http.connect_timeout_ms = options.connect_timeout_ms;
  // An answer that takes longer than a connect may is asked for again.
  client_options.http.stall_timeout_s = std::max<std::uint32_t>(1, (options.connect_timeout_ms + 999) / 1000);
  client_options.http.stop_fd = stop.fd();
  MC_TRY_ASSIGN(auto client, SessionClient::open(std::move(client_options)));
  return std::unique_ptr<SessionPoller>(new SessionPoller(options, state, std::move(stop), std::move(client)));
}

SessionPoller::SessionPoller(const ControlLinkOptions& options, LinkState& state, sys::Wakeup stop,
                             SessionClient client)
    : session_(options.session),
      every_us_(std::int64_t{std::max<std::uint32_t>(1, options.poll_ms)} * 1000),
      state_(state),
      stop_(std::move(stop)),
      client_(std::move(client)),
      thread_([this] { run(); }) {}

SessionPoller::~SessionPoller() {
  is_stopping_ = true;
  stop_.poke();
  state_.poller().poke();
  thread_.join();
}

void SessionPoller::run() {
  std::int64_t due_us = monotonic_us() + every_us_;
  bool was_wanted = true;
  while (!is_stopping_) {
    // Cleared before it is looked at: what changes later pokes again.
    state_.poller().clear();
    const bool is_wanted = state_.wants_polling();
    if (is_wanted && !std::exchange(was_wanted, is_wanted)) due_us = monotonic_us() + every_us_;
    was_wanted = is_wanted;
    if (is_stopping_) return;
    const std::int64_t left_us = due_us - monotonic_us();
    if (!is_wanted || left_us > 0) {
      const int wait_ms = is_wanted ? static_cast<int>(std::min<std::int64_t>(left_us / 1000 + 1, 60'000)) : -1;
      (void)sys::wait_readable(state_.poller().fd(), wait_ms);
      continue;
    }
    const std::int64_t asked_us = monotonic_us();
    auto view = client_.view(session_);
    if (is_stopping_) return;
    // When it was made is session time, somewhere between the question and the answer.
    if (view && view->now_ns > 0) {
      state_.add_sample({asked_us, view->now_ns / 1000, view->now_ns / 1000, monotonic_us()});
    }
    Status shown = view ? state_.show(std::move(*view), asked_us) : fail(std::move(view).error());
    state_.polled(shown ? std::nullopt : std::optional(std::move(shown).error()));
    // A server that needs long for its answer gets some rest.
    due_us = std::max(asked_us + every_us_, monotonic_us() + every_us_ / 4);
  }
}

}  // namespace mc::control
