#include "rig/agent.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "control/control_link.hpp"
#include "rig/identity.hpp"
#include "rig/monotonic.hpp"
#include "rig/supervisor_link.hpp"
#include "sys/lock.hpp"
#include "sys/service_manager.hpp"

namespace mc::rig {
namespace {

constexpr int kAgentTickMs = 100;
constexpr std::int64_t kTellClockEveryNs = 10'000'000'000;
constexpr std::int64_t kLowSpaceBytes = 1 << 30;

class Agent {
 public:
  Agent(sys::FileSystem& fs, const AgentOptions& options, const AgentHooks& hooks, std::string directory)
      : fs_(fs), options_(options), hooks_(hooks), directory_(std::move(directory)) {}

  Status run();

 private:
  using Link = std::unique_ptr<SupervisorLink>;

  Status find_supervisors();
  Status connect();
  void wait();
  bool take_signals();  // whether it is time to end
  void hear();
  void obey(const wire::SessionView& view);
  Status assign(const wire::SessionView& view, const wire::TakeView& take);
  Status keep_one_in_standby();
  Result<SupervisorLink*> make_supervisor();
  void bury();
  void tell_clock();
  wire::Telemetry telemetry() const;
  void tell();

  std::optional<control::SessionClock::Estimate> estimate() const;
  std::optional<ClockReading> clock() const;
  SupervisorLink* in_standby() const;
  SupervisorLink* find(const wire::SessionView& view, const std::string& take) const;

  sys::FileSystem& fs_;
  const AgentOptions& options_;
  const AgentHooks& hooks_;
  std::string directory_;
  Identity identity_;
  std::unique_ptr<control::ControlLink> control_;
  std::vector<Link> supervisors_;
  std::uint64_t next_number_ = 1;

  std::optional<wire::SessionView> view_;
  std::uint64_t obeyed_version_ = 0;
  bool online_ = false, is_ready_ = false, is_ending_ = false;
  std::string trouble_, spool_trouble_;
  std::string last_take_, last_state_;  // of what is over
  std::int64_t next_clock_ns_ = 0;
  std::optional<std::int64_t> told_sample_us_;
  sys::Watchdog watchdog_;
  std::int64_t fed_chunks_ = -1;
};

Status Agent::run() {
  MC_TRY(find_supervisors());
  MC_TRY(connect());
  for (;;) {
    if (take_signals())
      return fail(Error{ErrorKind::unavailable, "ended before everything is Synced", 0,
                        "what records and uploads goes on; start mc-guest again to see it through"});
    for (const Link& link : supervisors_) link->look();
    bury();
    hear();
    if (is_ending_ && supervisors_.empty()) return {};
    if (!is_ending_) {
      const Status kept = keep_one_in_standby();
      spool_trouble_ = kept ? "" : kept.error().message;
    }
    tell_clock();
    tell();
    wait();
  }
}

// Those of an earlier agent. They run, or are started again by look().
Status Agent::find_supervisors() {
  MC_TRY_ASSIGN(const auto entries, fs_.list(directory_));
  for (const auto& entry : entries) {
    std::uint64_t number = 0;
    const char* end = entry.name.data() + entry.name.size();
    const auto [rest, ec] = std::from_chars(entry.name.data(), end, number);
    if (ec != std::errc{} || rest != end) continue;
    next_number_ = std::max(next_number_, number + 1);
    const std::string directory = sys::join_path(directory_, entry.name);
    if (!load_order(fs_, directory)) {
      // Made by an agent that died before there was an order in it.
      (void)fs_.remove_directory(directory);
      continue;
    }
    supervisors_.push_back(std::make_unique<SupervisorLink>(fs_, directory, options_.log));
    SupervisorLink& link = *supervisors_.back();
    link.look();
    if (link.take().empty()) link.stop(std::nullopt);
  }
  return {};
}

Status Agent::connect() {
  IdentityOptions who{options_.url, directory_, options_.token_file, options_.ca_file, options_.stop_fd, options_.log};
  MC_TRY_ASSIGN(identity_, find_identity(fs_, who));
  if (hooks_.joined) hooks_.joined();
  control::ControlLinkOptions link;
  link.base_url = options_.url.base_url;
  link.session = options_.url.session;
  link.guest = options_.url.guest;
  link.agent = options_.agent;
  link.ca_file = options_.ca_file;
  if (!identity_.token_file.empty()) {
    MC_TRY_ASSIGN(link.credential, http::Credential::open(identity_.token_file));
  }
  link.log = options_.log;
  MC_TRY_ASSIGN(control_, control::ControlLink::open(std::move(link)));
  return {};
}

void Agent::wait() {
  std::vector<pollfd> wanted{{control_->fd(), POLLIN, 0}, {options_.stop_fd, POLLIN, 0}};
  for (const Link& link : supervisors_) link->add_to(wanted);
  (void)::poll(wanted.data(), wanted.size(), kAgentTickMs);
}

bool Agent::take_signals() {
  char byte = 0;
  while (sys::wait_readable(options_.stop_fd, 0).value_or(false) && ::read(options_.stop_fd, &byte, 1) == 1) {
    if (is_ending_) return true;
    is_ending_ = true;
    (void)sys::notify_service_manager("STOPPING=1");
    for (const Link& link : supervisors_) {
      if (link->take().empty()) link->stop(std::nullopt);
    }
    const auto left =
        std::count_if(supervisors_.begin(), supervisors_.end(), [](const Link& link) { return !link->take().empty(); });
    if (left > 0) {
      options_.log(LogLevel::warning, "asked to end: goes on until everything is Synced; " + std::to_string(left) +
                                          (left == 1 ? " take is" : " takes are") +
                                          " not; ask again to leave it to the supervisors");
    }
  }
  return false;
}

void Agent::hear() {
  control::ControlLink::News news = control_->take();
  online_ = news.online;
  const std::string trouble = news.trouble ? news.trouble->message : "";
  if (trouble != trouble_ && !trouble.empty()) options_.log(LogLevel::warning, trouble);
  trouble_ = trouble;
  if (news.view) view_ = std::move(news.view);
  if (view_) obey(*view_);
}

void Agent::obey(const wire::SessionView& view) {
  const std::string& guest = options_.url.guest;
  bool obeyed = true;
  for (const wire::TakeView& take : view.takes) {
    if (take.state != wire::TakeState::recording) continue;
    const bool is_in = std::any_of(take.guests.begin(), take.guests.end(),
                                   [&](const wire::GuestOfTake& of) { return of.guest == guest; });
    if (!is_in || find(view, take.name) != nullptr) continue;
    if (const Status assigned = assign(view, take); !assigned) {
      options_.log(LogLevel::error, "cannot record take " + take.name + ": " + assigned.error().message);
      obeyed = false;
    }
  }
  for (const Link& link : supervisors_) {
    const wire::TakeView* take = link->take().empty() ? nullptr : view.find(link->take());
    const bool is_same = link->session_id().empty() || link->session_id() == view.id;
    if (take != nullptr && is_same && !link->is_stopping() && take->state != wire::TakeState::recording) {
      link->stop(take->t1_ns);
    }
    obeyed = obeyed && link->has_obeyed();
  }
  if (obeyed) obeyed_version_ = view.version;
}

SupervisorLink* Agent::find(const wire::SessionView& view, const std::string& take) const {
  for (const Link& link : supervisors_) {
    if (link->take() == take && (link->session_id().empty() || link->session_id() == view.id)) return link.get();
  }
  return nullptr;
}

SupervisorLink* Agent::in_standby() const {
  for (const Link& link : supervisors_) {
    if (link->take().empty() && !link->is_stopping() && !link->is_over()) return link.get();
  }
  return nullptr;
}

Status Agent::assign(const wire::SessionView& view, const wire::TakeView& take) {
  SupervisorLink* link = in_standby();
  if (link == nullptr) {
    MC_TRY_ASSIGN(link, make_supervisor());
  }
  link->record({.session_id = view.id, .take = take.name, .t0_ns = take.t0_ns, .clock = clock()});
  return {};
}

// Not while another one has the devices: most can be opened once only.
Status Agent::keep_one_in_standby() {
  const bool is_busy = std::any_of(supervisors_.begin(), supervisors_.end(), [](const Link& link) {
    return !link->is_over() && (link->take().empty() || !link->is_stopping() || link->is_capturing());
  });
  if (is_busy) return {};
  MC_TRY(make_supervisor());
  return {};
}

Result<SupervisorLink*> Agent::make_supervisor() {
  const std::string directory = sys::join_path(directory_, std::to_string(next_number_));
  MC_TRY(fs_.make_directory(directory));
  Order order;
  order.session = options_.url.session;
  order.guest = options_.url.guest;
  order.spool = options_.spool;
  order.server = options_.url.base_url;
  order.token_file = identity_.token_file;
  order.key_file = identity_.key_file;
  order.ca_file = options_.ca_file;
  order.limit_rate = options_.limit_rate;
  order.capture = options_.capture;
  order.clock = clock();
  MC_TRY(keep_order(fs_, directory, order));
  MC_TRY(fs_.sync_directory(directory_));
  ++next_number_;
  supervisors_.push_back(std::make_unique<SupervisorLink>(fs_, directory, options_.log));
  supervisors_.back()->look();
  return supervisors_.back().get();
}

void Agent::bury() {
  for (const Link& link : supervisors_) {
    if (!link->is_over()) continue;
    if (!link->take().empty()) {
      last_take_ = link->take();
      last_state_ = link->telemetry().state;
      if (last_state_ == "failed") options_.log(LogLevel::error, "take " + last_take_ + ": " + link->order().failed);
    }
    link->remove();
  }
  std::erase_if(supervisors_, [](const Link& link) { return link->is_over(); });
}

std::optional<control::SessionClock::Estimate> Agent::estimate() const {
  return control_ ? control_->clock_at(monotonic_ns() / 1000) : std::nullopt;
}

std::optional<ClockReading> Agent::clock() const {
  const auto now = estimate();
  if (!now) return std::nullopt;
  return ClockReading{now->offset_us, now->bound_us, {}};
}

// Only what is new: without the server an old reading says less every minute, and those who record know their pace.
void Agent::tell_clock() {
  if (monotonic_ns() < next_clock_ns_) return;
  const auto now = estimate();
  if (!now || now->sampled_us == told_sample_us_) return;
  told_sample_us_ = now->sampled_us;
  next_clock_ns_ = monotonic_ns() + kTellClockEveryNs;
  for (const Link& link : supervisors_) link->tell_clock({now->offset_us, now->bound_us, {}});
}

// One state for all the supervisors: what matters most to the director.
wire::Telemetry Agent::telemetry() const {
  const auto rank = [](const std::string& state) {
    return state == "recording" ? 3 : state == "standby" ? 2 : state == "preparing" ? 1 : 0;
  };
  const SupervisorLink* first = nullptr;
  const SupervisorLink* sends = nullptr;
  for (const Link& link : supervisors_) {
    if (first == nullptr || rank(link->telemetry().state) > rank(first->telemetry().state)) first = link.get();
    if (link->telemetry().state == "finalizing") sends = link.get();
  }
  wire::Telemetry t;
  if (first != nullptr) t = first->telemetry();
  // While a take is being sent and nothing is recorded, that is what there is to know.
  if (sends != nullptr && t.state != "recording") {
    const wire::Telemetry& s = sends->telemetry();
    t.take = s.take;
    if (t.state != "standby") t.state = s.state;
    t.recorded_ms = s.recorded_ms;
    t.chunks_durable = s.chunks_durable;
    t.chunks_uploaded = s.chunks_uploaded;
    t.lag_ms = s.lag_ms;
  }
  t.version = obeyed_version_;
  if (const auto space = fs_.space(options_.spool)) {
    t.disk_free_bytes = static_cast<std::int64_t>(space->free_bytes);
    if (*t.disk_free_bytes < kLowSpaceBytes) t.alarms.push_back("the disk is nearly full");
  }
  for (const Link& link : supervisors_) {
    if (link.get() == first) continue;
    for (const std::string& alarm : link->telemetry().alarms) {
      t.alarms.push_back((link->take().empty() ? "" : "take " + link->take() + ": ") + alarm);
    }
  }
  if (last_state_ == "failed") t.alarms.push_back("take " + last_take_ + ": nothing was recorded");
  if (!spool_trouble_.empty()) t.alarms.push_back(spool_trouble_);
  if (!trouble_.empty()) t.alarms.push_back(trouble_);
  return t;
}

void Agent::tell() {
  const wire::Telemetry now = telemetry();
  control_->set_telemetry(now);
  if (hooks_.status) hooks_.status(now, online_);
  if (!is_ready_ && (now.state == "standby" || now.state == "recording")) {
    is_ready_ = true;
    if (hooks_.ready) hooks_.ready();
  }
  // Where something is recorded, nothing but what reached the disk is a sign of life.
  const std::int64_t chunks = now.state == "recording" ? now.chunks_durable.value_or(0) : -1;
  if (chunks < 0 || chunks != fed_chunks_) watchdog_.feed();
  fed_chunks_ = chunks;
}

}  // namespace

Status run_agent(sys::FileSystem& fs, const AgentOptions& options, const AgentHooks& hooks) {
  const std::string directory =
      sys::join_path(sys::join_path(sys::join_path(options.spool, ".guest"), options.url.session), options.url.guest);
  MC_TRY(sys::make_directories(fs, directory));
  auto lock = sys::FileLock::acquire(sys::join_path(directory, kLockName));
  if (!lock && lock.error().kind == ErrorKind::unavailable) {
    return fail(ErrorKind::unavailable, "another mc-guest runs for '" + options.url.guest + "' in this spool");
  }
  if (!lock) return fail(lock.error());
  return Agent(fs, options, hooks, directory).run();
}

}  // namespace mc::rig
