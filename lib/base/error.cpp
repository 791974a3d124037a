#include "base/error.hpp"

namespace mc {

const char* name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return "usage";
    case ErrorKind::damaged: return "damaged";
    case ErrorKind::not_found: return "not-found";
    case ErrorKind::refused: return "refused";
    case ErrorKind::bug: return "bug";
    case ErrorKind::no_space: return "no-space";
    case ErrorKind::io: return "io";
    case ErrorKind::unavailable: return "unavailable";
    case ErrorKind::protocol: return "protocol";
    case ErrorKind::permission: return "permission";
    case ErrorKind::config: return "config";
  }
  return "unknown";
}

}  // namespace mc
