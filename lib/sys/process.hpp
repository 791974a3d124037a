// Child processes. The only place that knows Boost.Process.
//
//   MC_TRY_ASSIGN(auto child, Process::start({.program = path, .arguments = {"write", dir}, .in_fd = pipe}));
//   poll(child.fd()) …              // readable when it has ended (pidfd_open(2))
//   child.ended()                   // its exit status, once
//
// A child has the descriptors that it is given and no others of ours (they are all close-on-exec), no blocked signals,
// and SIGPIPE as a fresh program has it. It is not killed by the destructor: whoever starts something that records
// says how it ends. Nobody reaps a child whose Process is gone; init does it when we end.
//
// One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sys/fd.hpp"

namespace mc::sys {

struct ProcessOptions {
  std::string program;  // a path
  std::vector<std::string> arguments;
  int in_fd = -1, out_fd = -1, err_fd = -1;  // borrowed; negative: /dev/null for in and out, ours for err
  bool own_session = false;                  // setsid(2): no terminal's and no job's signals reach it
};

class Process {
 public:
  // Kind: not_found (no such program), unavailable (no process can be made), io.
  static Result<Process> start(const ProcessOptions& options);

  int pid() const { return pid_; }
  int fd() const { return ended_.get(); }
  void signal(int number) const;
  // Nothing: it runs. 0 to 255: what it exited with; 128 + N: signal N killed it. The same at each later call.
  std::optional<int> status();

 private:
  Process(int pid, Fd ended) : pid_(pid), ended_(std::move(ended)) {}
  int pid_ = -1;
  Fd ended_;
  std::optional<int> status_;
};

// A process that is none of our children, by its number: to be seen ending, and to be killed. Kind: not_found.
Result<Fd> watch_process(int pid);  // readable when it has ended
void signal_process(const Fd& watched, int number);

// The program `name` beside this one, where it was built or installed, or as PATH finds it. Kind: not_found.
Result<std::string> find_sibling_program(const std::string& name);
std::string own_program();

// A file that what children say is added to; made when absent.
Result<Fd> open_output(const std::string& path);
// A pipe whose ends are close-on-exec.
struct Pipe {
  Fd read_end, write_end;
};
Result<Pipe> make_pipe();

}  // namespace mc::sys
