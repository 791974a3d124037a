// What a server's store holds of a recording, read to the last byte: mc-verify URL.
#pragma once

#include <functional>
#include <vector>

#include "http/client.hpp"
#include "spool/recording.hpp"
#include "upload/remote.hpp"

namespace mc::tool_verify {

struct StoreAuditOptions {
  std::vector<digest::PublicKey> keys;                                    // as in spool::VerifyOptions
  int stop_fd = -1;                                                       // also ends the waits between tries
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes; may be empty
};

double recorded_seconds(const wire::Manifest& manifest);

struct StoreReport {
  spool::VerifyReport report;
  double recorded_s = 0;
};
// Fetches the manifest and every file that it lists, hashes what comes and keeps nothing; checks the manifest's lines
// and root, lengths, hashes, and the receipts. Frames are counted by the manifest's word: with the right hashes the
// files are the ones that the guest listed. What is transient is tried again a few times.
//
// An error (not a finding): not_found (nothing is held there), and what http::Client and the server say.
Result<StoreReport> audit_store(http::Client& client, const upload::Remote& remote, const StoreAuditOptions& options);

}  // namespace mc::tool_verify
