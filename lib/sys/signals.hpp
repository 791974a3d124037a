// SIGINT and SIGTERM as a readable descriptor.
#pragma once

#include <string>

#include "sys/fd.hpp"

namespace mc::sys {

// The first SIGINT or SIGTERM makes `stop_fd()` readable for good; the second kills the process, as it would have
// without us. SIGPIPE is ignored, so that a closed pipe is an error of write(2). Installed once per process, from
// main, before threads start.
class StopSignals {
 public:
  static Result<StopSignals> install();
  int stop_fd() const { return read_end_.get(); }
  int signal_number() const;  // the first one that came, or 0
  // From now on no signal kills: each is a byte to be read from stop_fd, which does not block.
  void tell_each() const;

 private:
  explicit StopSignals(Fd read_end) : read_end_(std::move(read_end)) {}
  Fd read_end_;
};

// Blocks `signal_number` and gives a descriptor that becomes readable when it comes (signalfd(2)). Called before
// threads start: they inherit the mask.
Result<Fd> signal_descriptor(int signal_number);
// Takes what a signal_descriptor has to say, without waiting; true: the signal came.
bool take_signal(const Fd& descriptor);

// Wakes a thread that waits in poll(2): eventfd(2). `poke` from any thread.
class Wakeup {
 public:
  static Result<Wakeup> open();
  int fd() const { return fd_.get(); }  // readable after a poke, until `clear`
  void poke() const;
  void clear() const;

 private:
  explicit Wakeup(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// Resets `signal_number` to its default and raises it: the death of a batch tool that was asked to stop.
[[noreturn]] void die_by_signal(int signal_number);

}  // namespace mc::sys
