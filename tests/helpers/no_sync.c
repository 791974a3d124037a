// LD_PRELOAD: fsync and fdatasync that say yes and do nothing. A planted bug: crash tests must find what it loses.
int fsync(int fd) {
  (void)fd;
  return 0;
}
int fdatasync(int fd) {
  (void)fd;
  return 0;
}
