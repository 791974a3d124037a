// LD_PRELOAD: a disk whose flush takes MC_SYNC_US microseconds more, and that does one flush at a time, in the order in
// which they were asked for.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned long next_ticket, served;

static int slowly(long call, int fd) {
  const char* text = getenv("MC_SYNC_US");
  const long us = text != NULL ? atol(text) : 0;
  pthread_mutex_lock(&lock);
  const unsigned long ticket = next_ticket++;
  while (ticket != served) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  const struct timespec pause = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&pause, NULL);
  const int result = (int)syscall(call, fd);
  pthread_mutex_lock(&lock);
  ++served;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return result;
}

int fsync(int fd) { return slowly(SYS_fsync, fd); }
int fdatasync(int fd) { return slowly(SYS_fdatasync, fd); }
