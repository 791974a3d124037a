// Several clients that upload to a FileStore on a SimFileSystem at once, for the crash tests: the operations in an
// order that follows from a seed, and what was answered when.
//
//   const Uploaded u = upload_all(seed);       // u.log: the operations, with an AcknowledgeOp for each answer
//
// The store is the real one, with its threads' locks and its group commit (crash/turns.hpp). An fsync of a directory
// takes time: what is renamed while it runs it does not cover. Uploads whose connection breaks go through the server's
// own service, which parks them, tells the offset and goes on.
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
  part_not_synced,              // of an upload that broke off, before its offset is told
};
inline constexpr StoreMutant kStoreMutants[] = {
    StoreMutant::stage_not_synced,
    StoreMutant::stage_synced_after_rename,
    StoreMutant::directory_not_synced,
    StoreMutant::parent_not_synced,
    StoreMutant::answered_before_directory_sync,
    StoreMutant::answered_by_an_earlier_sync,
    StoreMutant::stages_not_discarded,
    StoreMutant::part_not_synced,
};
const char* name(StoreMutant mutant);

struct Upload {
  wire::RecordingPath path;
  std::string recording_id;
  std::string name;
  ByteBuffer bytes;
  bool given_up = false;                 // the client goes away before the end
  std::vector<std::size_t> breaks = {};  // where its connection breaks, and it is asked for the offset and goes on
};
enum class Answer : std::uint8_t { none, held, conflict };  // held: created, or the same was there

// One upload as the server does it: bound, staged, published.
Result<Answer> put(store::Store& store, const Upload& upload);

// An Upload-Offset as a client was told it.
struct Announced {
  std::size_t upload = 0;
  std::string stage;  // the path of what it speaks of
  std::uint64_t offset = 0;
};

struct Uploaded {
  std::vector<Upload> uploads;  // AcknowledgeOp has the index, plus kConflict for the answer "other bytes are there",
  std::vector<Announced> announced;  // or the index of one of these plus kAnnounced
  OpLog log;
  store::GroupCommit::Counts commits;
};
inline constexpr std::uint64_t kConflict = 1000;
inline constexpr std::uint64_t kAnnounced = 2000;
Uploaded upload_all(std::uint32_t seed, StoreMutant mutant = StoreMutant::none);

// `fs` with the bug; must outlive the result.
std::unique_ptr<sys::FileSystem> plant(StoreMutant mutant, sys::FileSystem& fs);

}  // namespace mc::crash
