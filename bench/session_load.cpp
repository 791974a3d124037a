// Many rigs in one session, without cameras: each holds its control connection, asks the clock, tells its telemetry
// every second and obeys REC as mc-guest does. For `bench/run session`.
//
//   session_load --guests N --seconds N --rounds N --server-pid PID http://127.0.0.1:PORT
//
// Prints one line of NAME=VALUE: from the director's REC to the moment at which the server had passed a guest's
// acknowledgement on (the telemetry whose version has the take) to whoever asks: of all guests in all rounds p50, p99
// and maximum, in milliseconds; the worst bound of a clock; and the server's share of a core, in percent, in standby
// and while a take is recorded.
//
// The director asks for the view again and again, every few milliseconds: that is what the figures are rounded up to,
// and it is among what the server has to do in that time.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "control/control_link.hpp"
#include "control/session_client.hpp"
#include "sys/fd.hpp"

namespace {

using namespace mc;
using control::ControlLink;

constexpr int kTickMs = 5;
constexpr std::int64_t kMs = 1'000'000;
constexpr char kSession[] = "load";

template <class T>
T value_of(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "session_load: %s\n", result.error().message.c_str());
    std::exit(74);
  }
  return std::move(*result);
}

std::int64_t now_ns() { return system_clock().monotonic_ns(); }

// utime and stime of proc(5), in seconds.
double processor_seconds(const std::string& pid) {
  std::ifstream stat("/proc/" + pid + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  const auto behind_name = text.rfind(')');
  long long ticks = 0;
  const char* at = text.c_str() + (behind_name == std::string::npos ? 0 : behind_name + 2);
  for (int field = 3; field <= 15 && *at != '\0'; ++field) {
    if (field >= 14) ticks += std::atoll(at);
    while (*at != ' ' && *at != '\0') ++at;
    if (*at == ' ') ++at;
  }
  return static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

class Load {
 public:
  Load(std::string url, int guests) : url_(std::move(url)) {
    for (int n = 0; n < guests; ++n) names_.push_back("rig-" + std::to_string(n));
  }

  void open() {
    control::SessionClientOptions options;
    options.base_url = url_;
    client_ = std::make_unique<control::SessionClient>(value_of(control::SessionClient::open(options)));
    (void)value_of(client_->create(kSession, names_, value_of(control::SessionClient::new_key())));
    for (const std::string& name : names_) rigs_.push_back(Rig{value_of(ControlLink::open(link_options(name))), name});
    wait([&] { return acknowledged(1).size() == names_.size(); });
  }

  // The server's share of a core meanwhile.
  double watch(const std::string& pid, int seconds) {
    const double before = processor_seconds(pid);
    const std::int64_t begun = now_ns(), until = begun + seconds * 1000 * kMs;
    wait([&] { return now_ns() >= until; });
    return (processor_seconds(pid) - before) * 100 / (static_cast<double>(now_ns() - begun) / 1e9);
  }

  // Milliseconds from REC to each guest's acknowledgement, as the director sees it.
  std::vector<double> rec() {
    const std::int64_t begun = now_ns();
    const auto answer = value_of(client_->command(kSession, control::Command::rec, {}));
    const std::uint64_t version = answer.view ? answer.view->version : 0;
    std::set<std::string> seen;
    std::vector<double> all;
    wait([&] {
      for (const std::string& name : acknowledged(version)) {
        if (seen.insert(name).second) all.push_back(static_cast<double>(now_ns() - begun) / 1e6);
      }
      return seen.size() == names_.size();
    });
    return all;
  }
  void stop() { (void)value_of(client_->command(kSession, control::Command::stop, {})); }

  double worst_bound_ms() const {
    double worst = 0;
    for (const Rig& rig : rigs_) {
      const auto estimate = rig.link->clock_at(now_ns() / 1000);
      worst = std::max(worst, estimate ? static_cast<double>(estimate->bound_us) / 1000 : 1e9);
    }
    return worst;
  }

 private:
  struct Rig {
    std::unique_ptr<ControlLink> link;
    std::string name;
    wire::Telemetry telemetry = {};
  };

  control::ControlLinkOptions link_options(const std::string& guest) const {
    control::ControlLinkOptions options;
    options.base_url = url_;
    options.session = kSession;
    options.guest = guest;
    options.agent = "session_load";
    return options;
  }

  std::set<std::string> acknowledged(std::uint64_t version) {
    std::set<std::string> names;
    const wire::SessionView view = value_of(client_->view(kSession));
    for (const wire::GuestView& guest : view.guests) {
      if (guest.telemetry && guest.telemetry->version >= version) names.insert(guest.guest);
    }
    return names;
  }

  template <class Done>
  void wait(Done done) {
    const std::int64_t until = now_ns() + 120'000 * kMs;
    while (!done()) {
      if (now_ns() > until) {
        std::fprintf(stderr, "session_load: nothing for two minutes\n");
        std::exit(74);
      }
      std::vector<pollfd> wanted;
      for (const Rig& rig : rigs_) wanted.push_back({rig.link->fd(), POLLIN, 0});
      (void)::poll(wanted.data(), wanted.size(), kTickMs);
      for (Rig& rig : rigs_) obey(rig);
    }
  }

  static void obey(Rig& rig) {
    const auto news = rig.link->take();
    if (!news.view) return;
    const auto* take = news.view->recording();
    rig.telemetry.state = take != nullptr ? "recording" : "standby";
    rig.telemetry.take = take != nullptr ? take->name : "";
    rig.telemetry.version = news.view->version;
    rig.link->set_telemetry(rig.telemetry);
  }

  std::string url_;
  std::vector<std::string> names_;
  std::unique_ptr<control::SessionClient> client_;
  std::vector<Rig> rigs_;
};

}  // namespace

int main(int argc, char** argv) {
  int guests = 100, seconds = 10, rounds = 5;
  std::string pid, url;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--guests" && i + 1 < argc) {
      guests = std::atoi(argv[++i]);
    } else if (argument == "--seconds" && i + 1 < argc) {
      seconds = std::atoi(argv[++i]);
    } else if (argument == "--rounds" && i + 1 < argc) {
      rounds = std::atoi(argv[++i]);
    } else if (argument == "--server-pid" && i + 1 < argc) {
      pid = argv[++i];
    } else {
      url = argument;
    }
  }
  if (guests < 1 || seconds < 1 || rounds < 1 || pid.empty() || url.empty()) return 64;
  Load load(url, guests);
  load.open();
  const double standby = load.watch(pid, seconds);
  std::vector<double> all;
  double recording = 0;
  for (int round = 0; round < rounds; ++round) {
    const auto times = load.rec();
    all.insert(all.end(), times.begin(), times.end());
    if (round == 0) recording = load.watch(pid, seconds);
    load.stop();
  }
  std::sort(all.begin(), all.end());
  const auto at = [&](double part) {
    return all[static_cast<std::size_t>(part * static_cast<double>(all.size() - 1))];
  };
  std::printf(
      "guests=%d acknowledgements=%zu p50_ms=%.1f p99_ms=%.1f max_ms=%.1f bound_ms=%.2f standby_percent=%.1f "
      "recording_percent=%.1f\n",
      guests, all.size(), at(0.5), at(0.99), all.back(), load.worst_bound_ms(), standby, recording);
  return 0;
}
