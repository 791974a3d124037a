// Takes old recordings out of a file store: only those that are Synced, by the receipt that lies there and by every
// byte (never-lose L9, L20). Works on a store that a server is using.
//
// A recording goes when nothing lies in its directory but what a closed, intact manifest lists, the manifest, receipts
// and the binding; when a receipt by one of the keys is true of that manifest and older than asked; and when every file
// has the SHA-256 that is listed. What lies aside for a person to look at (.conflict-…, .damaged-…) or is being
// received keeps it. Then:
//
//   rename GUEST → .pruning-GUEST      nobody adds to it any more
//   look again                         if anything came or changed since it was judged, it is put back
//   a line in the audit log, durably
//   rename → .pruned-ID, fsync         from here on it is removed
//   remove the files and the directory, fsync
//
// On a store that is too full for that line, the recording becomes .unlogged-ID instead: its media is removed, then
// comes the line, then the rest goes as above. Manifest and receipts, which the line is made of, stay until it is
// durable.
//
// After a crash the next run puts a .pruning-GUEST back, removes what is left of a .pruned-ID and does what is left to
// do with an .unlogged-ID, the line first. A server that was
// about to write into the directory makes it anew, or gets an error that its client tries again.
//
// Kinds: unavailable (another run has the lock), and those of the file system.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "digest/ed25519.hpp"
#include "server/control_log.hpp"
#include "sys/file_system.hpp"
#include "wire/receipt.hpp"

namespace mc::server {

struct PruneOptions {
  std::vector<digest::PublicKey> keys;  // whose receipts count
  std::int64_t older_than_s = 0;        // by the receipt's time
  std::int64_t now_ns = 0;              // wall clock
  ControlLog* control_log = nullptr;    // null: nothing is changed, only told
};
struct PruneOutcome {
  wire::RecordingPath path;
  std::string kept_because;  // empty: removed, or would be
  wire::Receipt receipt;     // when removed
  std::uint32_t files = 0;   // in the directory, receipts and all
  std::uint64_t bytes = 0;
};

// Every recording in turn. An error of one recording is told as the reason why it was kept, with a warning in the log;
// the first such error is returned when all are done. An error of `tell` ends the run.
Status prune_store(sys::FileSystem& fs, const std::string& root, const PruneOptions& options, const Log& log,
                   const std::function<Status(const PruneOutcome&)>& tell);

}  // namespace mc::server
