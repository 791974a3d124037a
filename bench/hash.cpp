// bench-hash FILE: its SHA-256 by the loop that every tool reads recordings with, as `openssl dgst -sha256 -r` prints
// it.
#include <cstdio>

#include "spool/recording.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  const auto hash = mc::spool::hash_file(mc::sys::real_file_system(), argv[1]);
  if (!hash) {
    std::fprintf(stderr, "bench-hash: error: %s\n", hash.error().message.c_str());
    return 74;
  }
  return std::printf("%s *%s\n", hash->sha256.c_str(), argv[1]) > 0 ? 0 : 74;
}
