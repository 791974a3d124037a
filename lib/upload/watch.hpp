// Tells when something in a directory may have changed. A hint and no more: events can be lost (network file systems,
// the kernel's limits), so whoever waits on it also looks by itself from time to time.
#pragma once

#include <string>

#include "sys/fd.hpp"

namespace mc::upload {

class Watch {
 public:
  // Of what is created, renamed into or written in `directory`. When the kernel has none to give, fd() is -1 and only
  // the looking from time to time is left.
  static Watch of(const std::string& directory);

  int fd() const { return fd_.get(); }  // readable when something happened
  void drain();                         // so that it can become readable again

 private:
  explicit Watch(sys::Fd fd) : fd_(std::move(fd)) {}
  sys::Fd fd_;
};

}  // namespace mc::upload
