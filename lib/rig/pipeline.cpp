#include "rig/pipeline.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <csignal>

#include "base/clock.hpp"
#include "rig/monotonic.hpp"
#include "sys/local_socket.hpp"

namespace mc::rig {
namespace {

constexpr std::int64_t kDrainNs = 30'000'000'000;  // of a disk that hangs: what was taken is worth waiting for
constexpr const char* kProgramNames[] = {"mc-capture", "mc-mux", "mc-spool"};

int peer_pid(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : -1;
}

}  // namespace

bool Pipeline::adopt() {
  auto fd = sys::connect_local(options_.socket_path);
  if (!fd) return false;
  auto watched = sys::watch_process(peer_pid(fd->get()));
  if (!watched) return false;
  capture_ = LineSocket(std::move(*fd));
  adopted_ = std::move(*watched);
  is_adopted_ = true;
  state_ = State::opening;
  status_at_ns_ = monotonic_ns();
  return true;
}

Status Pipeline::start_capture() {
  MC_TRY_ASSIGN(const std::string program, sys::find_sibling_program(kProgramNames[kCapture]));
  MC_TRY_ASSIGN(sys::Pipe media, sys::make_pipe());
  sys::ProcessOptions process{.program = program, .arguments = options_.capture};
  process.arguments.insert(process.arguments.end(), {"--quiet", "--control", "unix:" + options_.socket_path});
  process.out_fd = media.write_end.get();
  process.err_fd = options_.log_fd;
  MC_TRY_ASSIGN(programs_[kCapture], sys::Process::start(process));
  media_ = std::move(media.read_end);
  state_ = State::opening;
  was_told_ = broken_off_ = false;
  kill_at_ns_ = 0;
  status_ = {};
  status_at_ns_ = monotonic_ns();
  last_words_.clear();
  const auto log = sys::real_file_system().info(options_.log_path);
  log_begin_ = log ? log->size_bytes : 0;
  return {};
}

Status Pipeline::start_storing(const std::string& directory, const std::string& path) {
  if (is_storing() || state_ == State::over) return {};
  MC_TRY_ASSIGN(const std::string mux, sys::find_sibling_program(kProgramNames[kMux]));
  MC_TRY_ASSIGN(const std::string spool, sys::find_sibling_program(kProgramNames[kSpool]));
  MC_TRY_ASSIGN(sys::Pipe fragments, sys::make_pipe());
  // From its end, so that each of them finds a reader.
  MC_TRY_ASSIGN(programs_[kSpool], sys::Process::start({.program = spool,
                                                        .arguments = {"--quiet", "write", "--as", path, directory},
                                                        .in_fd = fragments.read_end.get(),
                                                        .err_fd = options_.log_fd}));
  MC_TRY_ASSIGN(programs_[kMux], sys::Process::start({.program = mux,
                                                      .arguments = {"--quiet"},
                                                      .in_fd = media_.get(),
                                                      .out_fd = fragments.write_end.get(),
                                                      .err_fd = options_.log_fd}));
  media_ = sys::Fd();
  return {};
}

void Pipeline::begin(std::int64_t t0_ns, const ClockReading& clock) {
  capture_.send(
      {{"command", "start"}, {"t0", format_utc(t0_ns)}, {"offset_us", clock.offset_us}, {"bound_us", clock.bound_us}});
}

void Pipeline::tell_clock(const ClockReading& clock) {
  capture_.send({{"command", "clock"}, {"offset_us", clock.offset_us}, {"bound_us", clock.bound_us}});
}

void Pipeline::end(std::optional<std::int64_t> t1_ns) {
  was_told_ = true;
  json::object command{{"command", "stop"}};
  if (t1_ns) command["t1"] = format_utc(*t1_ns);
  capture_.send(command);
}

void Pipeline::break_off() {
  const int number = broken_off_ ? SIGKILL : SIGTERM;
  if (programs_[kCapture]) programs_[kCapture]->signal(number);
  if (adopted_.valid()) sys::signal_process(adopted_, number);
  broken_off_ = true;
}

void Pipeline::add_to(std::vector<pollfd>& wanted) const {
  for (const auto& program : programs_) {
    if (program) wanted.push_back({program->fd(), POLLIN, 0});
  }
  if (adopted_.valid()) wanted.push_back({adopted_.get(), POLLIN, 0});
  if (capture_.is_open()) wanted.push_back({capture_.fd(), POLLIN, 0});
}

void Pipeline::look() {
  if (state_ == State::over) return;
  connect();
  for (const json::object& message : capture_.take()) hear(message);
  look_at_ends();
}

void Pipeline::connect() {
  if (capture_.is_open() || !programs_[kCapture]) return;
  auto fd = sys::connect_local(options_.socket_path);
  // A socket of one that died before may still lie there.
  if (fd && peer_pid(fd->get()) == programs_[kCapture]->pid()) capture_ = LineSocket(std::move(*fd));
}

void Pipeline::hear(const json::object& message) {
  const std::string event = json::get_string(message, "event").value_or("");
  // Nobody holds the other end of its pipe any more.
  if (event == "standby" && is_adopted_) return break_off();
  if (event == "standby" && state_ == State::opening) state_ = State::standby;
  if (event == "started") state_ = State::recording;
  if (event != "status") return;
  const auto number = [&](const char* key) { return json::get_int(message, key).value_or(0); };
  const auto seen = static_cast<std::uint64_t>(number("video_seen") + number("audio_seen"));
  if (seen != status_.seen) status_at_ns_ = monotonic_ns();
  status_.seen = seen;
  status_.recorded_ms = number("recorded_ms");
  status_.dropped_packets = static_cast<std::uint64_t>(number("dropped_packets"));
  status_.encoder_load_percent = json::get_int(message, "encoder_load_percent");
  const auto* peak = message.if_contains("sound_peak_db");
  status_.sound_peak_db =
      peak != nullptr && peak->is_number() ? std::optional(peak->to_number<double>()) : std::nullopt;
}

void Pipeline::look_at_ends() {
  if (is_adopted_) {
    // The two behind it end with it; whoever starts anew finds the recording locked until they have.
    if (sys::wait_readable(adopted_.get(), 0).value_or(true)) finish();
    return;
  }
  bool anybody = false;
  int last_dead = -1;
  for (int place = 0; place < kPlaces; ++place) {
    auto& program = programs_[place];
    if (!program) continue;
    const auto status = program->status();
    anybody = anybody || !status;
    if (status) last_dead = place;
    if (status && *status != 0 && last_words_.empty()) {
      last_words_ = std::string(kProgramNames[place]) + " ended with " + std::to_string(*status);
      if (*status > 128)
        last_words_ = std::string(kProgramNames[place]) + " was killed by signal " + std::to_string(*status - 128);
      last_words_ += last_error();
    }
  }
  if (!anybody) return finish();
  if (last_dead < 0) return;
  const std::int64_t now = monotonic_ns();
  if (kill_at_ns_ == 0) kill_at_ns_ = now + kDrainNs;
  for (int place = 0; place < kPlaces; ++place) {
    auto& program = programs_[place];
    if (program && !program->status() && (place < last_dead || now >= kill_at_ns_)) program->signal(SIGKILL);
  }
}

// The last line of this run's log that is an error, behind a colon, or nothing.
std::string Pipeline::last_error() const {
  constexpr std::uint64_t kTailBytes = 4096;
  const auto file = sys::real_file_system().open_read(options_.log_path);
  if (!file) return {};
  const auto size = (*file)->size();
  if (!size || *size <= log_begin_) return {};
  ByteBuffer tail(std::min(kTailBytes, *size - log_begin_));
  const auto n = (*file)->read_at(*size - tail.size(), tail);
  const std::string_view text = as_text({tail.data(), n.value_or(0)});
  const std::string_view mark = ": error: ";
  const auto at = text.rfind(mark);
  if (at == std::string_view::npos) return {};
  const auto begin = at + mark.size();
  return ": " + std::string(text.substr(begin, text.find('\n', begin) - begin));
}

void Pipeline::finish() {
  if (last_words_.empty() && !was_told_) last_words_ = "the capture ended by itself";
  if (was_told_ && !broken_off_ && kill_at_ns_ == 0) last_words_.clear();
  for (auto& program : programs_) program.reset();
  media_ = sys::Fd();
  adopted_ = sys::Fd();
  is_adopted_ = false;
  capture_.close();
  state_ = State::over;
}

json::object Pipeline::pids() const {
  json::object all;
  for (int place = 0; place < kPlaces; ++place) {
    if (programs_[place]) all[kProgramNames[place]] = programs_[place]->pid();
  }
  return all;
}

}  // namespace mc::rig
