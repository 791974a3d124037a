// What a fuzz target asks of its subject: libFuzzer keeps the input for which it does not hold.
#pragma once

#include <cstdlib>

inline void require(bool holds) {
  if (!holds) std::abort();
}
