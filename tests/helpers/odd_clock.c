// For LD_PRELOAD: a machine whose CLOCK_MONOTONIC and CLOCK_BOOTTIME run MC_CLOCK_PPM millionths too fast, from the
// moment on when the first program with it began. What it starts goes by the same clock. The kernel's waits do not, which
// is off by as little as the clock itself by then.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static double wrong;
static long long base_ns;

static long long to_ns(const struct timespec *t) { return t->tv_sec * 1000000000LL + t->tv_nsec; }

__attribute__((constructor)) static void begin(void) {
  real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  const char *ppm = getenv("MC_CLOCK_PPM"), *base = getenv("MC_CLOCK_BASE_NS");
  if (ppm == NULL || real_clock_gettime == NULL) return;
  if (base != NULL) {
    base_ns = atoll(base);
  } else {
    struct timespec now;
    real_clock_gettime(CLOCK_MONOTONIC, &now);
    base_ns = to_ns(&now);
    char text[32];
    snprintf(text, sizeof text, "%lld", base_ns);
    setenv("MC_CLOCK_BASE_NS", text, 1);
  }
  wrong = atof(ppm) * 1e-6;
}

int clock_gettime(clockid_t id, struct timespec *out) {
  if (real_clock_gettime == NULL) begin();
  const int code = real_clock_gettime(id, out);
  if (code != 0 || wrong == 0 || (id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME)) return code;
  const long long ns = to_ns(out) + (long long)((double)(to_ns(out) - base_ns) * wrong);
  out->tv_sec = ns / 1000000000LL;
  out->tv_nsec = ns % 1000000000LL;
  return 0;
}
