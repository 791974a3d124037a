// LD_PRELOAD: the write that MC_SHORT_WRITE names by number (0: every one) takes only half of what it is given, as write(2)
// may. Writes of one byte and those to stderr are left alone.
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t write(int fd, const void* data, size_t size) {
  static atomic_long calls;
  const char* at = getenv("MC_SHORT_WRITE");
  if (at != NULL && fd != 2 && size > 1) {
    const long call = atomic_fetch_add(&calls, 1) + 1;
    const long wanted = atol(at);
    if (wanted == 0 || wanted == call) size /= 2;
  }
  return syscall(SYS_write, fd, data, size);
}
