// Feeds a fragmented MP4 to a program's stdin as fast as it is taken, and knows at the program's death what it had
// read: the honest figure for "frames that had entered".
//
//   frame_feeder [--kill-after N MICROSECONDS] IN.fmp4 EVENTS PROGRAM ARGS...
//
// The program's descriptor 5 is a pipe whose lines are kept in the file EVENTS; it is always read, so none is lost.
//
// --kill-after N US   SIGKILL, US microseconds after N acknowledgements had come
//
// Prints "entered-bytes=N fed-bytes=N ended=CODE" (128 + the signal for a death by one), exits 0 whatever the program's
// end was. A program that ends by itself before it has read all of its input is no error of the feeder.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "mp4/box.hpp"
#include "sys/file_system.hpp"

namespace {

using namespace mc;
using Steady = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "frame_feeder: %s\n", what.c_str());
  std::exit(70);
}
int checked(int result, const char* what) {
  if (result < 0) die(std::string(what) + ": " + std::strerror(errno));
  return result;
}

// Ends of the fragments: each mdat's end; what precedes a moof goes with it.
std::vector<std::size_t> fragment_ends(ByteView input) {
  std::vector<std::size_t> ends;
  const auto done = mp4::for_each_box(input, [&](const mp4::Box& box) -> Status {
    if (box.type == mp4::fourcc("mdat")) {
      ends.push_back(static_cast<std::size_t>(box.whole.data() + box.whole.size() - input.data()));
    }
    return {};
  });
  if (!done) die(done.error().message);
  if (ends.empty()) die("the input has no fragment");
  ends.back() = input.size();  // what stands behind the last one, too
  return ends;
}

class Feeder {
 public:
  std::optional<std::size_t> kill_after;
  std::chrono::microseconds delay{0};

  void run(const char* input_path, const char* events_path, char** program) {
    auto input = sys::read_file(sys::real_file_system(), input_path, std::uint64_t{1} << 32);
    if (!input) die(input.error().message);
    const auto ends = fragment_ends(*input);
    events_file_ = checked(::open(events_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), events_path);
    start(program);
    feed(*input, ends);
  }

 private:
  void start(char** program) {
    int in[2], events[2];
    checked(::pipe2(in, O_CLOEXEC), "pipe");
    checked(::pipe2(events, O_CLOEXEC), "pipe");
    pid_ = checked(::fork(), "fork");
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      if (events[1] != 5) ::dup2(events[1], 5);
      if (events[1] == 5) ::fcntl(5, F_SETFD, 0);
      ::signal(SIGPIPE, SIG_DFL);
      ::execvp(program[0], program);
      std::fprintf(stderr, "frame_feeder: cannot start '%s': %s\n", program[0], std::strerror(errno));
      ::_exit(127);
    }
    ::close(events[1]);
    input_read_ = in[0];  // kept open, so that what was not read can still be counted
    input_write_ = in[1];
    events_ = events[0];
    ::fcntl(input_write_, F_SETFL, ::fcntl(input_write_, F_GETFL) | O_NONBLOCK);
    ::fcntl(events_, F_SETFL, O_NONBLOCK);
    pidfd_ = checked(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)), "pidfd_open");
  }

  // Everything that waits, into the file. False at the end of the pipe.
  bool drain() {
    char buffer[65536];
    for (;;) {
      const ssize_t n = ::read(events_, buffer, sizeof buffer);
      if (n == 0) return false;
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (::write(events_file_, buffer, static_cast<std::size_t>(n)) != n) die("cannot write the events");
      for (ssize_t i = 0; i < n; ++i) {
        if (buffer[i] != '\n') {
          line_ += buffer[i];
          continue;
        }
        if (line_.find("\"event\":\"durable\"") != std::string::npos) ++durable_;
        line_.clear();
      }
    }
  }

  void feed(ByteView input, const std::vector<std::size_t>& ends) {
    std::size_t fed = 0, fragment = 0;
    std::optional<Steady::time_point> kill_at;
    for (;;) {
      if (kill_after && durable_ >= *kill_after && !kill_at) kill_at = Steady::now() + delay;
      if (kill_at && Steady::now() >= *kill_at) {
        ::kill(pid_, SIGKILL);
        kill_at = Steady::time_point::max();
      }
      const bool feeding = fragment < ends.size();
      pollfd p[3] = {{pidfd_, POLLIN, 0}, {events_, POLLIN, 0}, {feeding ? input_write_ : -1, POLLOUT, 0}};
      timespec timeout{};
      timespec* limit = nullptr;
      if (kill_at && *kill_at != Steady::time_point::max()) {
        const auto left = std::max<std::int64_t>(0, std::chrono::nanoseconds(*kill_at - Steady::now()).count());
        timeout = {left / 1'000'000'000, left % 1'000'000'000};
        limit = &timeout;
      }
      if (::ppoll(p, 3, limit, nullptr) < 0 && errno != EINTR) die("ppoll");
      if (p[1].revents != 0 && !drain()) events_ended();
      if (p[0].revents != 0) break;
      if ((p[2].revents & POLLOUT) != 0) {
        const ssize_t written = ::write(input_write_, input.data() + fed, ends[fragment] - fed);
        if (written > 0) fed += static_cast<std::size_t>(written);
        if (fed == ends[fragment] && ++fragment == ends.size()) {
          // The last writer of the pipe: its end is the program's end of file.
          ::close(input_write_);
          input_write_ = -1;
        }
      }
    }
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    if (events_ >= 0) drain();
    int unread = 0;
    checked(::ioctl(input_read_, FIONREAD, &unread), "FIONREAD");
    std::printf("entered-bytes=%zu fed-bytes=%zu ended=%d\n", fed - static_cast<std::size_t>(unread), fed,
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }

  void events_ended() {
    ::close(events_);
    events_ = -1;
  }

  pid_t pid_ = 0;
  int pidfd_ = -1, input_read_ = -1, input_write_ = -1, events_ = -1, events_file_ = -1;
  std::string line_;
  std::size_t durable_ = 0;
};

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: frame_feeder [--kill-after N MICROSECONDS] IN.fmp4 EVENTS PROGRAM "
               "ARGS...\n");
  std::exit(64);
}

}  // namespace

int main(int argc, char** argv) {
  Feeder feeder;
  int i = 1;
  for (; i < argc && std::strncmp(argv[i], "--", 2) == 0; ++i) {
    const std::string option = argv[i];
    if (option == "--kill-after" && i + 2 < argc) {
      feeder.kill_after = std::strtoul(argv[++i], nullptr, 10);
      feeder.delay = std::chrono::microseconds(std::strtoul(argv[++i], nullptr, 10));
    } else {
      usage();
    }
  }
  if (argc - i < 3) usage();
  ::signal(SIGPIPE, SIG_IGN);
  feeder.run(argv[i], argv[i + 1], argv + i + 2);
}
