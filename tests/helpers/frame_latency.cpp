// How long mc-mux takes from the last byte of a frame to the fragment that holds it.
//
//   frame_latency ROUNDS IN.nut PROGRAM ARGS...
//
// Each round starts PROGRAM, which reads NUT on stdin and writes a fragment for each frame, and waits until it has read
// all but the last byte of the first frame: the time that a process takes to start is not in the figures. Then that
// byte, and 30 more frames, each when the one before is out. Prints medians and the longest, of first frames and of
// later ones: "first-ms=51.0 first-longest-ms=60.2 later-ms=0.2 later-longest-ms=1.7".
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "media/nut_reader.hpp"
#include "mp4/box.hpp"
#include "sys/fd.hpp"
#include "sys/file_system.hpp"

namespace {

using namespace mc;
using Steady = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr std::size_t kFrames = 31;
constexpr int kPatienceMs = 20'000;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "frame_latency: %s\n", what.c_str());
  std::exit(70);
}
int checked(int result, const char* what) {
  if (result < 0) die(std::string(what) + ": " + std::strerror(errno));
  return result;
}

// Behind which byte of the stream each of its first frames is whole.
std::vector<std::size_t> frame_ends(ByteView input) {
  std::vector<std::size_t> ends;
  media::NutReader reader;
  for (std::size_t i = 0; i < input.size() && ends.size() < kFrames; ++i) {
    reader.push(input.subspan(i, 1));
    const auto packet = reader.next();
    if (!packet) die(packet.error().message);
    if (*packet) ends.push_back(i + 1);
  }
  if (ends.size() < kFrames) die("the input has too few frames");
  return ends;
}

class Round {
 public:
  explicit Round(char** program) {
    int in[2], out[2];
    checked(::pipe2(in, O_CLOEXEC), "pipe");
    checked(::pipe2(out, O_CLOEXEC), "pipe");
    checked(::fcntl(in[1], F_SETPIPE_SZ, 1 << 20), "pipe size");
    pid_ = checked(::fork(), "fork");
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::execvp(program[0], program);
      std::fprintf(stderr, "frame_latency: cannot start '%s': %s\n", program[0], std::strerror(errno));
      ::_exit(127);
    }
    ::close(out[1]);
    in_read_ = in[0];  // kept open, so that what is not read yet can be counted
    in_ = in[1];
    out_ = out[0];
  }
  ~Round() {
    ::close(in_);
    ::close(in_read_);
    ::close(out_);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  void write(ByteView bytes) {
    if (!sys::write_all(in_, bytes, "the pipe")) die("cannot write to the program");
  }
  void wait_until_read() const {
    const auto give_up = Steady::now() + std::chrono::milliseconds(kPatienceMs);
    for (int left = 1; left > 0;) {
      checked(::ioctl(in_read_, FIONREAD, &left), "FIONREAD");
      if (Steady::now() > give_up || ::waitpid(pid_, nullptr, WNOHANG) != 0) die("the program does not read");
      ::sched_yield();
    }
  }
  // Until so many whole fragments have come out.
  void wait_for_fragments(std::size_t count) {
    while (fragments_ < count) {
      pollfd readable{out_, POLLIN, 0};
      if (::poll(&readable, 1, kPatienceMs) <= 0) die("no fragment");
      std::uint8_t bytes[65536];
      const ssize_t n = ::read(out_, bytes, sizeof bytes);
      if (n <= 0) die("the program ended");
      output_.insert(output_.end(), bytes, bytes + n);
      for (;;) {
        const ByteView rest = ByteView(output_).subspan(parsed_);
        const auto header = mp4::read_box_header(rest);
        if (!header) die(header.error().message);
        if (!header->complete || header->size_bytes > rest.size()) break;
        if (header->type == mp4::fourcc("mdat")) ++fragments_;
        parsed_ += static_cast<std::size_t>(header->size_bytes);
      }
    }
  }

 private:
  pid_t pid_ = -1;
  int in_read_ = -1, in_ = -1, out_ = -1;
  ByteBuffer output_;
  std::size_t parsed_ = 0, fragments_ = 0;
};

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: frame_latency ROUNDS IN.nut PROGRAM ARGS...\n");
    return 64;
  }
  ::signal(SIGPIPE, SIG_IGN);
  const auto read = sys::read_file(sys::real_file_system(), argv[2], std::uint64_t{1} << 30);
  if (!read) die(read.error().message);
  const ByteView input(*read);
  const auto ends = frame_ends(input);
  std::vector<double> first, later;
  for (int i = 0; i < std::atoi(argv[1]); ++i) {
    Round round(argv + 3);
    std::size_t fed = ends.front() - 1;
    round.write(input.first(fed));
    round.wait_until_read();
    for (std::size_t frame = 0; frame < ends.size(); ++frame) {
      const auto begun = Steady::now();
      round.write(input.subspan(fed, ends[frame] - fed));
      fed = ends[frame];
      round.wait_for_fragments(frame + 1);
      (frame == 0 ? first : later).push_back(Milliseconds(Steady::now() - begun).count());
    }
  }
  if (first.empty()) die("no rounds");
  const double first_ms = median(first), later_ms = median(later);
  std::printf("first-ms=%.1f first-longest-ms=%.1f later-ms=%.2f later-longest-ms=%.2f\n", first_ms, first.back(),
              later_ms, later.back());
  return 0;
}
