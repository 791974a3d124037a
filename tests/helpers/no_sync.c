// LD_PRELOAD: fsync and fdatasync that say yes and do nothing. A planted bug: crash tests must find what it loses.
// MC_NO_SYNC limits it to "files" or to "directories".
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int left_out(int fd) {
  const char* kind = getenv("MC_NO_SYNC");
  struct stat about;
  if (kind == NULL) return 1;
  if (fstat(fd, &about) != 0) return 0;
  return S_ISDIR(about.st_mode) ? strcmp(kind, "directories") == 0 : strcmp(kind, "files") == 0;
}

int fsync(int fd) { return left_out(fd) ? 0 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return left_out(fd) ? 0 : (int)syscall(SYS_fdatasync, fd); }
