// LD_PRELOAD for User-mode Linux on processors with AMX: its buffer for the extended register state is too small there,
// and the kernel refuses to give it ("ptrace set fp regs failed"). The calls go through a larger buffer.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define STATE_BYTES 16384

static char state[STATE_BYTES];
static size_t state_bytes;  // as the kernel gave it last

long ptrace(enum __ptrace_request request, ...) {
  static long (*real)(enum __ptrace_request, ...);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "ptrace");
  va_list arguments;
  va_start(arguments, request);
  const long pid = va_arg(arguments, long);
  void* const what = va_arg(arguments, void*);
  void* const data = va_arg(arguments, void*);
  va_end(arguments);
  if ((request != PTRACE_GETREGSET && request != PTRACE_SETREGSET) || what != (void*)NT_X86_XSTATE)
    return real(request, pid, what, data);
  struct iovec* const theirs = data;
  struct iovec ours = {state, sizeof state};
  if (request == PTRACE_GETREGSET) {
    const long result = real(request, pid, what, &ours);
    if (result < 0) return result;
    state_bytes = ours.iov_len;
    if (theirs->iov_len > ours.iov_len) theirs->iov_len = ours.iov_len;
    memcpy(theirs->iov_base, state, theirs->iov_len);
    return result;
  }
  memcpy(state, theirs->iov_base, theirs->iov_len < sizeof state ? theirs->iov_len : sizeof state);
  if (state_bytes) ours.iov_len = state_bytes;
  return real(request, pid, what, &ours);
}
