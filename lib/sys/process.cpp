#include "sys/process.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>

#define BOOST_PROCESS_USE_STD_FS
#include <boost/process/args.hpp>
#include <boost/process/child.hpp>
#include <boost/process/error.hpp>
#include <boost/process/exe.hpp>
#include <boost/process/extend.hpp>
#include <boost/process/io.hpp>
#include <boost/process/posix.hpp>
#include <boost/process/search_path.hpp>

namespace mc::sys {
namespace {

namespace process = boost::process;

Result<Fd> open_pidfd(int pid, const std::string& what) {
  // Of Linux 5.3; glibc 2.36 has a wrapper, but not in a header that C++ may include.
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) return fail(errno_error(errno, "cannot watch " + what));
  return fd;
}

// Between fork and exec only what is safe in a signal handler.
void prepare_child(bool own_session) {
  if (own_session) ::setsid();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
}

}  // namespace

Result<Process> Process::start(const ProcessOptions& options) {
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return fail(errno_error(errno, "cannot open '/dev/null'"));
  const int in = options.in_fd >= 0 ? options.in_fd : null.get();
  const int out = options.out_fd >= 0 ? options.out_fd : null.get();
  const int err = options.err_fd >= 0 ? options.err_fd : STDERR_FILENO;
  const bool own_session = options.own_session;
  std::error_code ec;
  int pid = -1;
  try {
    process::child child(
        process::exe = options.program, process::args = options.arguments, process::posix::fd.bind(STDIN_FILENO, in),
        process::posix::fd.bind(STDOUT_FILENO, out), process::posix::fd.bind(STDERR_FILENO, err),
        process::extend::on_exec_setup = [own_session](auto&) { prepare_child(own_session); }, ec);
    pid = child.id();
    child.detach();  // we wait for it ourselves
  } catch (const std::exception& e) {
    return fail(ErrorKind::unavailable, "cannot start '" + options.program + "': " + e.what());
  }
  if (ec) return fail(errno_error(ec.value(), "cannot start '" + options.program + "'"));
  MC_TRY_ASSIGN(Fd ended, open_pidfd(pid, "'" + options.program + "'"));
  return Process(pid, std::move(ended));
}

void Process::signal(int number) const {
  if (!status_) ::kill(pid_, number);  // not reaped yet, so the number is still its own
}

std::optional<int> Process::status() {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return status_;
}

Result<Fd> watch_process(int pid) { return open_pidfd(pid, "process " + std::to_string(pid)); }

void signal_process(const Fd& watched, int number) {
  (void)::syscall(SYS_pidfd_send_signal, watched.get(), number, nullptr, 0);
}

std::string own_program() {
  char path[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  std::string program(path, n > 0 ? static_cast<std::size_t>(n) : 0);
  // After an upgrade the name leads to the new program.
  const std::string gone = " (deleted)";
  if (program.ends_with(gone)) program.resize(program.size() - gone.size());
  return program;
}

Result<std::string> find_sibling_program(const std::string& name) {
  const std::string own = own_program();
  const auto slash = own.rfind('/');
  if (slash != std::string::npos) {
    std::string beside = own.substr(0, slash + 1) + name;
    if (::access(beside.c_str(), X_OK) == 0) return beside;
  }
  std::string found = process::search_path(name).string();
  if (found.empty()) return fail(ErrorKind::not_found, "cannot find the program '" + name + "'");
  return found;
}

Result<Fd> open_output(const std::string& path) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!fd.valid()) return fail(errno_error(errno, "cannot open '" + path + "'"));
  return fd;
}

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, "cannot create a pipe"));
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace mc::sys
