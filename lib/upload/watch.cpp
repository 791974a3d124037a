#include "upload/watch.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>

namespace mc::upload {

Watch Watch::of(const std::string& directory) {
  sys::Fd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (fd.valid() &&
      ::inotify_add_watch(fd.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) < 0) {
    fd = sys::Fd();
  }
  return Watch(std::move(fd));
}

void Watch::drain() {
  std::array<char, 4096> events{};
  while (fd_.valid() && ::read(fd_.get(), events.data(), events.size()) > 0) {
  }
}

}  // namespace mc::upload
