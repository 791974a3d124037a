// Writes a fragmented MP4 from a file to stdout one fragment at a time, so many microseconds apart: a live source whose
// frames are known beforehand. For tests only: it sleeps between fragments because that is what it is for.
//
//   pace MICROSECONDS IN.fmp4 | mc-spool write …
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "mp4/box.hpp"
#include "sys/fd.hpp"
#include "sys/file_system.hpp"

int main(int argc, char** argv) {
  using namespace mc;
  if (argc != 3) {
    std::fprintf(stderr, "usage: pace MICROSECONDS IN.fmp4\n");
    return 64;
  }
  const long step_ns = std::strtol(argv[1], nullptr, 10) * 1000;
  const auto input = sys::read_file(sys::real_file_system(), argv[2], std::uint64_t{1} << 30);
  if (!input) {
    std::fprintf(stderr, "pace: %s\n", input.error().message.c_str());
    return 66;
  }
  timespec next{};
  ::clock_gettime(CLOCK_MONOTONIC, &next);
  ByteView left(*input);
  while (!left.empty()) {
    const auto header = mp4::read_box_header(left);
    if (!header || !header->complete || header->size_bytes > left.size()) return 65;
    const ByteView box = left.first(static_cast<std::size_t>(header->size_bytes));
    if (!sys::write_all(1, box, "stdout")) return 0;  // the reader is gone
    left = left.subspan(box.size());
    if (header->type != mp4::fourcc("mdat")) continue;
    next.tv_nsec += step_ns;
    next.tv_sec += next.tv_nsec / 1'000'000'000;
    next.tv_nsec %= 1'000'000'000;
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
  }
  return 0;
}
