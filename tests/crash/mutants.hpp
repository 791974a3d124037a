// Planted bugs: file systems that leave out, or move, exactly one of the operations that durability stands on, as if
// the code did not ask for it. Each must be found by the enumeration (test-machinery: keep the planted bugs).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "crash/sim_file_system.hpp"

namespace mc::crash {

enum class Mutant : std::uint8_t {
  chunk_not_synced,
  directory_not_synced,
  parent_not_synced,  // of a directory that was made
  manifest_not_synced,
  journal_not_synced,
  journal_dropped_early,  // before the manifest is durable
  acknowledged_before_flush,
  recovered_chunk_not_synced,
};
inline constexpr Mutant kMutants[] = {
    Mutant::chunk_not_synced,          Mutant::directory_not_synced,       Mutant::parent_not_synced,
    Mutant::manifest_not_synced,       Mutant::journal_not_synced,         Mutant::journal_dropped_early,
    Mutant::acknowledged_before_flush, Mutant::recovered_chunk_not_synced,
};
const char* name(Mutant mutant);

// `fs` with the bug; must outlive the result.
std::unique_ptr<sys::FileSystem> plant(Mutant mutant, SimFileSystem& fs);

}  // namespace mc::crash
