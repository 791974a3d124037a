#include "crash/turns.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

namespace mc::crash {
namespace {

thread_local int this_thread = -1;

// How often the kernel has switched away from a thread that sleeps; nothing for one that does not sleep.
std::string sleep_of(int tid) {
  std::ifstream status("/proc/self/task/" + std::to_string(tid) + "/status");
  std::string line, switches;
  bool sleeps = false;
  while (std::getline(status, line)) {
    if (line.starts_with("State:")) sleeps = line.find('S', 6) != std::string::npos;
    if (line.find("ctxt_switches:") != std::string::npos) switches += line;
  }
  return sleeps ? switches : std::string();
}

}  // namespace

int Turns::self() { return this_thread; }

void Turns::wait() {
  if (this_thread < 0) return;
  auto& state = threads_[static_cast<std::size_t>(this_thread)]->state;
  state.store(State::waiting);
  state.wait(State::waiting);
}

// A thread that blocks may be woken by one that we have seen running before we look at the next, so that one look is
// not enough: two in a row must find the same sleeps.
std::vector<std::size_t> Turns::at_rest() {
  std::string before;
  for (;;) {
    std::vector<std::size_t> waiting;
    std::string sleeps;
    bool moves = false;
    for (std::size_t i = 0; i < threads_.size() && !moves; ++i) {
      const State state = threads_[i]->state.load();
      if (state == State::waiting) waiting.push_back(i);
      if (state != State::running) continue;
      const int tid = threads_[i]->tid.load();
      const std::string sleep = tid == 0 ? std::string() : sleep_of(tid);
      moves = sleep.empty();
      sleeps += std::to_string(i) + sleep + "\n";
    }
    if (!moves && (sleeps.empty() || sleeps == before)) return waiting;
    before = moves ? std::string() : sleeps;
    ::sched_yield();
  }
}

void Turns::run(const std::vector<std::function<void()>>& bodies) {
  threads_.clear();
  for (std::size_t i = 0; i < bodies.size(); ++i) threads_.push_back(std::make_unique<Thread>());
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    running.emplace_back([this, i, &bodies] {
      this_thread = static_cast<int>(i);
      threads_[i]->tid.store(static_cast<int>(::syscall(SYS_gettid)));
      wait();
      bodies[i]();
      threads_[i]->state.store(State::ended);
    });
  }
  for (;;) {
    const auto waiting = at_rest();
    if (waiting.empty()) {
      for (const auto& thread : threads_) {
        if (thread->state.load() == State::ended) continue;
        std::fputs("a deadlock: every thread waits for another\n", stderr);
        std::abort();
      }
      break;
    }
    auto& next = threads_[waiting[random_() % waiting.size()]]->state;
    next.store(State::running);
    next.notify_one();
  }
  for (std::thread& thread : running) thread.join();
}

}  // namespace mc::crash
