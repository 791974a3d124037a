#include "sys/signals.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace mc::sys {
namespace {

std::atomic<int> g_write_end{-1};
std::atomic<int> g_signal{0};
std::atomic<bool> g_tells_each{false};

void on_stop(int signal_number) {
  const int saved = errno;
  int expected = 0;
  const bool is_first = g_signal.compare_exchange_strong(expected, signal_number);
  const bool tells_each = g_tells_each.load();
  if (is_first || tells_each) {
    const char byte = 's';
    (void)!::write(g_write_end.load(), &byte, 1);
  }
  if (is_first && !tells_each) {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
  }
  errno = saved;
}

}  // namespace

Result<StopSignals> StopSignals::install() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return fail(errno_error(errno, "cannot create a pipe"));
  g_write_end = ends[1];
  struct sigaction action {};
  action.sa_handler = on_stop;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return StopSignals(Fd(ends[0]));
}

void StopSignals::tell_each() const { g_tells_each = true; }

int StopSignals::signal_number() const { return g_signal.load(); }

Result<Fd> signal_descriptor(int signal_number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal_number);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return fail(errno_error(error, "cannot block a signal"));
  }
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return fail(errno_error(errno, "cannot create a signal descriptor"));
  return fd;
}

bool take_signal(const Fd& descriptor) {
  signalfd_siginfo info{};
  return ::read(descriptor.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info);
}

Result<Wakeup> Wakeup::open() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return fail(errno_error(errno, "cannot create an event descriptor"));
  return Wakeup(std::move(fd));
}

void Wakeup::poke() const {
  const std::uint64_t one = 1;
  (void)!::write(fd_.get(), &one, sizeof one);
}

void Wakeup::clear() const {
  std::uint64_t count = 0;
  (void)!::read(fd_.get(), &count, sizeof count);
}

void die_by_signal(int signal_number) {
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
  std::_Exit(128 + signal_number);
}

}  // namespace mc::sys
