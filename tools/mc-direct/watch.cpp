#include "mc-direct/watch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.hpp"
#include "sys/fd.hpp"

namespace mc::tool_direct {
namespace {

constexpr int kLookEveryMs = 500;

std::string or_dash(const std::optional<std::int64_t>& value, double divisor, const char* unit) {
  return value ? fmt::format("{:.1f} {}", static_cast<double>(*value) / divisor, unit) : "-";
}

std::string guest_line(const wire::GuestView& guest, const wire::TakeView* take) {
  const wire::Telemetry none;
  const wire::Telemetry& said = guest.telemetry ? *guest.telemetry : none;
  std::string held = "-";
  if (take != nullptr) {
    const auto found = std::ranges::find(take->guests, guest.guest, &wire::GuestOfTake::guest);
    if (found != take->guests.end()) held = wire::name(found->holding);
  }
  std::string line =
      fmt::format("{:<16} {:<8} {:<11} {:>9} {:>7} {:>7} {:>8} {:>9} {:>5} {:>8} {:>8}  {}", guest.guest,
                  guest.online ? "online" : "away", guest.online && guest.telemetry ? said.state : "-",
                  said.recorded_ms ? cli::human_duration(static_cast<double>(*said.recorded_ms) / 1e3) : "-",
                  said.chunks_durable ? std::to_string(*said.chunks_durable) : "-",
                  said.chunks_uploaded ? std::to_string(*said.chunks_uploaded) : "-", or_dash(said.lag_ms, 1e3, "s"),
                  said.disk_free_bytes ? cli::human_bytes(static_cast<std::uint64_t>(*said.disk_free_bytes)) : "-",
                  said.encoder_load_percent ? fmt::format("{}%", *said.encoder_load_percent) : "-",
                  said.sound_peak_db ? fmt::format("{:.0f} dB", *said.sound_peak_db) : "-",
                  or_dash(said.clock_bound_us, 1e3, "ms"), held);
  while (line.ends_with(' ')) line.pop_back();
  line += '\n';
  for (const std::string& alarm : said.alarms) line += fmt::format("{:<16} ! {}\n", "", alarm);
  return line;
}

std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' && c != '\n') c = '?';
    if (c == '\x7f') c = '?';
  }
  return text;
}

// What differs between two looks, the time of the look left out.
bool is_same(wire::SessionView a, const wire::SessionView& b) {
  a.now_ns = b.now_ns;
  return a == b;
}

Status show(const cli::Invocation& in, const wire::SessionView& view) {
  if (in.json()) return in.event("session", {{"session", wire::to_json(view)}});
  return in.print(table(view));
}

}  // namespace

std::string table(const wire::SessionView& view) {
  std::string text = fmt::format("session {}\n", view.name);
  for (const wire::TakeView& take : view.takes) {
    const std::size_t all =
        static_cast<std::size_t>(std::ranges::count(take.guests, wire::Holding::all, &wire::GuestOfTake::holding));
    text += fmt::format("take {}  {}  {} of {} guests synced\n", take.name, wire::name(take.state), all,
                        take.guests.size());
    for (const std::string& line : take.missing) text += fmt::format("  missing: {}\n", line);
  }
  text += fmt::format("{:<16} {:<8} {:<11} {:>9} {:>7} {:>7} {:>8} {:>9} {:>5} {:>8} {:>8}  {}\n", "guest", "", "state",
                      "recorded", "chunks", "sent", "lag", "disk", "load", "sound", "clock", "held");
  const wire::TakeView* last = view.takes.empty() ? nullptr : &view.takes.back();
  for (const wire::GuestView& guest : view.guests) text += guest_line(guest, last);
  return printable(std::move(text));
}

Result<int> status(cli::Invocation& in, control::SessionClient& client, const std::string& session) {
  MC_TRY_ASSIGN(const auto view, client.view(session));
  if (in.json()) {
    MC_TRY(in.print(json::to_text(wire::to_json(view)) + "\n"));
  } else {
    MC_TRY(in.print(table(view)));
  }
  return cli::kDone;
}

Result<int> watch(cli::Invocation& in, control::SessionClient& client, const std::string& session) {
  const bool draws = !in.json() && ::isatty(STDOUT_FILENO) == 1;
  std::optional<wire::SessionView> last;
  client.set_patience(std::nullopt);  // it is in an outage that one wants to look
  for (;;) {
    auto view = client.view(session);
    if (!view && view.error().sys_errno == EINTR) return cli::kDone;
    if (!view) return fail(std::move(view).error());
    if (!last || !is_same(*last, *view)) {
      if (draws) MC_TRY(in.print("\x1b[H\x1b[J"));
      MC_TRY(show(in, *view));
      last = std::move(*view);
    }
    MC_TRY_ASSIGN(const bool stopped, sys::wait_readable(in.stop.stop_fd(), kLookEveryMs));
    if (stopped) return cli::kDone;
  }
}

Result<int> wait(cli::Invocation& in, control::SessionClient& client, const WaitOptions& options) {
  const std::int64_t begun_ns = system_clock().monotonic_ns();
  cli::Progress progress(in);
  for (;;) {
    std::optional<std::int64_t> left_ms;
    if (options.timeout_s) {
      const auto waited_ms = (system_clock().monotonic_ns() - begun_ns) / 1'000'000;
      left_ms = std::max<std::int64_t>(static_cast<std::int64_t>(*options.timeout_s * 1000) - waited_ms, 0);
    }
    client.set_patience(left_ms);
    MC_TRY_ASSIGN(const auto view, client.view(options.session));
    const wire::TakeView* take = view.find(options.take);
    if (options.take.empty() && !view.takes.empty()) take = &view.takes.back();
    const wire::TakeState now = take == nullptr ? wire::TakeState::standby : take->state;
    const std::string name = take == nullptr ? options.take : take->name;
    if (now == options.state) {
      progress.clear();
      MC_TRY(in.event("reached", {{"take", name}, {"state", wire::name(now)}}));
      return cli::kDone;
    }
    // A take goes through its states in order, and two of them are the last.
    const bool never = now == wire::TakeState::incomplete || now == wire::TakeState::synced ||
                       (take != nullptr && options.state < now);
    if (never) {
      progress.clear();
      in.log()(LogLevel::error, fmt::format("take {} is {}", name, wire::name(now)));
      MC_TRY(in.event("passed", {{"take", name}, {"state", wire::name(now)}}));
      return cli::kNegative;
    }
    progress.show(fmt::format("take {} is {}, waiting for {}", name.empty() ? "-" : name, wire::name(now),
                              wire::name(options.state)));
    const double waited_s = static_cast<double>(system_clock().monotonic_ns() - begun_ns) / 1e9;
    if (options.timeout_s && waited_s >= *options.timeout_s) {
      return fail(ErrorKind::unavailable,
                  fmt::format("take {} is {} still", name.empty() ? "-" : name, wire::name(now)));
    }
    int wait_ms = kLookEveryMs;
    if (options.timeout_s) wait_ms = std::min(wait_ms, static_cast<int>((*options.timeout_s - waited_s) * 1000) + 1);
    MC_TRY_ASSIGN(const bool stopped, sys::wait_readable(in.stop.stop_fd(), wait_ms));
    if (stopped) return fail(ErrorKind::unavailable, "stopped by a signal", EINTR);
  }
}

}  // namespace mc::tool_direct
