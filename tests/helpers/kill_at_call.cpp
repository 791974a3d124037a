// Kills a program at its N-th system call: SIGKILL before the call is made, whichever thread makes it.
//
//   kill_at_call N PROGRAM ARGS...      exit code as the program's when it ends before that
//   kill_at_call 0 PROGRAM ARGS...      never kills; the last line on stderr is "system-calls=COUNT"
//
// The same means as strace's `inject=…:signal=SIGKILL:when=N`, but strace counts by thread and by call, so that it
// cannot name the calls of a thread that another one always overtakes. Calls are counted from the return of execve.
// When the program was killed, this one dies by SIGKILL as well.
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

namespace {

void trace(int request, pid_t pid, unsigned long data) {
  // A thread that just died answers ESRCH; its end is reported by waitpid.
  if (::ptrace(static_cast<__ptrace_request>(request), pid, nullptr, data) < 0 && errno != ESRCH) {
    std::fprintf(stderr, "kill_at_call: ptrace: %s\n", std::strerror(errno));
    std::exit(70);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: kill_at_call N PROGRAM ARGS...\n");
    return 64;
  }
  const unsigned long kill_at = std::strtoul(argv[1], nullptr, 10);
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::execvp(argv[2], argv + 2);
    std::fprintf(stderr, "kill_at_call: cannot start '%s': %s\n", argv[2], std::strerror(errno));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!WIFSTOPPED(status)) return 127;
  trace(PTRACE_SETOPTIONS, child,
        PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL);
  trace(PTRACE_SYSCALL, child, 0);

  unsigned long calls = 0;
  std::set<pid_t> inside;  // threads between the entry and the exit of a call
  for (;;) {
    const pid_t pid = ::waitpid(-1, &status, __WALL);
    if (pid < 0) {
      if (errno == EINTR) continue;
      return 70;
    }
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      inside.erase(pid);
      if (pid != child) continue;
      if (kill_at == 0) std::fprintf(stderr, "system-calls=%lu\n", calls);
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    unsigned long signal_to_pass = 0;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
      if (!inside.erase(pid)) {
        inside.insert(pid);
        if (++calls == kill_at) {
          ::kill(child, SIGKILL);
          // Its threads first: the process is reported only behind them.
          for (pid_t gone = 0; gone >= 0 && (gone != child || WIFSTOPPED(status));)
            gone = ::waitpid(-1, &status, __WALL);
          ::raise(SIGKILL);
        }
      }
    } else if (status >> 16 == 0 && WSTOPSIG(status) != SIGSTOP) {
      signal_to_pass = static_cast<unsigned long>(WSTOPSIG(status));
    }
    trace(PTRACE_SYSCALL, pid, signal_to_pass);
  }
}
