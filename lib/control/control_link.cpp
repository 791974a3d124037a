#include "control/control_link.hpp"

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <system_error>
#include <thread>

#include "control/control_socket.hpp"
#include "control/session_poller.hpp"

namespace mc::control {

struct ControlLink::Impl {
  Impl(ControlLinkOptions given, ServerUrl url, std::unique_ptr<LinkState> shared)
      : options(std::move(given)), state(std::move(shared)), socket(io, options, std::move(url), *state) {}
  ~Impl() {
    // Whatever goes on is left where it is: its handlers die with `io`, uncalled.
    io.stop();
    if (thread.joinable()) thread.join();
  }

  Status start() {
    MC_TRY(socket.check());
    MC_TRY_ASSIGN(poller, SessionPoller::open(options, *state));
    boost::asio::post(io, [this] { socket.start(); });
    thread = std::thread([this] { run(); });
    return {};
  }

  void run() {
    for (;;) {
      try {
        io.run();
        return;
      } catch (const std::exception& e) {
        // Out of memory, most likely; what was going on may have been left in the middle.
        boost::asio::post(io, [this, what = std::string(e.what())] {
          socket.give_up({ErrorKind::unavailable, "the control connection was given up: " + what, 0, {}});
        });
      }
    }
  }

  const ControlLinkOptions options;
  const std::unique_ptr<LinkState> state;
  boost::asio::io_context io{1};  // outlives all that works with it
  const boost::asio::executor_work_guard<boost::asio::io_context::executor_type> busy{boost::asio::make_work_guard(io)};
  ControlSocket socket;
  std::atomic<bool> is_telling = false;  // the thread has been told that there is telemetry, and has not looked yet
  std::thread thread;
  std::unique_ptr<SessionPoller> poller;
};

ControlLink::ControlLink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlLink::~ControlLink() = default;

Result<std::unique_ptr<ControlLink>> ControlLink::open(ControlLinkOptions options) {
  MC_TRY_ASSIGN(auto url, parse_server_url(options.base_url));
  if (!wire::is_name(options.session)) {
    return fail(ErrorKind::usage, "'" + options.session + "' is not the name of a session");
  }
  if (!options.guest.empty() && !wire::is_name(options.guest)) {
    return fail(ErrorKind::usage, "'" + options.guest + "' is not the name of a guest");
  }
  MC_TRY_ASSIGN(auto state, LinkState::open(options));
  std::unique_ptr<Impl> impl;
  try {
    impl = std::make_unique<Impl>(std::move(options), std::move(url), std::move(state));
    MC_TRY(impl->start());
  } catch (const std::system_error& e) {
    return fail(ErrorKind::unavailable, std::string("cannot set up a control connection: ") + e.what(),
                e.code().value());
  }
  return std::unique_ptr<ControlLink>(new ControlLink(std::move(impl)));
}

int ControlLink::fd() const { return impl_->state->news_fd(); }
ControlLink::News ControlLink::take() { return impl_->state->take(); }

void ControlLink::set_telemetry(wire::Telemetry telemetry) {
  impl_->state->set_telemetry(std::move(telemetry));
  if (impl_->is_telling.exchange(true)) return;
  boost::asio::post(impl_->io, [impl = impl_.get()] {
    impl->is_telling = false;
    impl->socket.tell();
  });
}

std::optional<SessionClock::Estimate> ControlLink::clock_at(std::int64_t monotonic_us) const {
  return impl_->state->clock_at(monotonic_us);
}
std::optional<std::int64_t> ControlLink::worst_round_trip_us() const { return impl_->state->worst_round_trip_us(); }

}  // namespace mc::control
