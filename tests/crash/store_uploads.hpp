// Several clients that upload to a FileStore on a SimFileSystem at once, for the crash tests: the operations in an
// order that follows from a seed, and what was answered when.
//
//   const Uploaded u = upload_all(seed);       // u.log: the operations, with an AcknowledgeOp for each answer
//
// The store is the real one, with its threads' locks and its group commit (crash/turns.hpp). An fsync of a directory
// takes time: what is renamed while it runs it does not cover.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crash/sim_file_system.hpp"
#include "store/file_store.hpp"

namespace mc::crash {

inline constexpr char kStoreRoot[] = "store";

// Planted bugs; each must be found.
enum class StoreMutant : std::uint8_t {
  none,
  stage_not_synced,
  stage_synced_after_rename,
  directory_not_synced,
  parent_not_synced,  // of a directory that was made
  answered_before_directory_sync,
  answered_by_an_earlier_sync,  // a group commit that answers a rename which came after the fsync began
  stages_not_discarded,         // at the next open
};
inline constexpr StoreMutant kStoreMutants[] = {
    StoreMutant::stage_not_synced,
    StoreMutant::stage_synced_after_rename,
    StoreMutant::directory_not_synced,
    StoreMutant::parent_not_synced,
    StoreMutant::answered_before_directory_sync,
    StoreMutant::answered_by_an_earlier_sync,
    StoreMutant::stages_not_discarded,
};
const char* name(StoreMutant mutant);

struct Upload {
  wire::RecordingPath path;
  std::string recording_id;
  std::string name;
  ByteBuffer bytes;
  bool given_up = false;  // the client goes away before the end
};
enum class Answer : std::uint8_t { none, held, conflict };  // held: created, or the same was there

// One upload as the server does it: bound, staged, published.
Result<Answer> put(store::Store& store, const Upload& upload);

struct Uploaded {
  std::vector<Upload> uploads;  // AcknowledgeOp has the index, plus kConflict for the answer "other bytes are there"
  OpLog log;
  store::GroupCommit::Counts commits;
};
inline constexpr std::uint64_t kConflict = 1000;
Uploaded upload_all(std::uint32_t seed, StoreMutant mutant = StoreMutant::none);

// `fs` with the bug; must outlive the result.
std::unique_ptr<sys::FileSystem> plant(StoreMutant mutant, sys::FileSystem& fs);

}  // namespace mc::crash
