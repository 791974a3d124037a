// Threads that run one at a time, in an order that follows from a seed: code with locks and condition variables, as it
// is, under a schedule that can be repeated.
//
//   Turns turns(seed);
//   turns.run({[&] { …turns.wait(); one operation; turns.wait(); the next… }, …});
//
// Between two calls of wait() a thread runs alone, until it calls it again, ends, or blocks on something that another
// thread has to do. Only when all of them are at rest the next is chosen, among those in wait(). Whether a thread
// blocks is asked of the kernel (/proc), so that the code under test needs no seam for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace mc::crash {

class Turns {
 public:
  explicit Turns(std::uint32_t seed) : random_(seed) {}

  // Returns when all have ended. Aborts the program when none can go on.
  void run(const std::vector<std::function<void()>>& bodies);
  // For a thread of run(): until it is its turn. Other threads are not held up.
  void wait();
  // Which thread of run() this is; -1: none.
  static int self();

 private:
  enum class State : int { running, waiting, ended };
  struct Thread {
    std::atomic<State> state{State::running};
    std::atomic<int> tid{0};
  };
  // Threads that are in wait(), when nobody moves.
  std::vector<std::size_t> at_rest();

  std::mt19937 random_;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace mc::crash
