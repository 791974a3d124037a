// What mc-push does: bring recordings to the server, and call one Synced only with the proof.
//
//   UploadOptions options; …
//   MC_TRY_ASSIGN(const UploadSummary all, upload(fs, directory, options, observer, log));
//   all.synced == all.recordings   // the receipt of each lies in its directory, durably
//
// `directory` is a recording, or a spool with recordings at any depth. Those of a spool share the connections, and take
// turns; one that fails is said, and the others go on; one with a receipt of this server costs nothing. With Follow::no
// what is there is sent, and that is the end. With Follow::yes a recording is followed until it is closed and Synced; a
// spool is followed for good: every recording that appears in it is taken up, a closed one is let go of when it is
// Synced, an open one that nobody goes on with while nobody does. One that failed is tried again when its manifest
// changes, and every ten minutes. Stopped, or at the deadline, that is no error when everything is Synced.
//
// For each recording the lines of its manifest are followed, never the entries of the directory. Each listed file is
// hashed again and sent, several at once, unless the server said that it holds it. Once the manifest is closed and
// every file is there, the manifest itself is sent, and the server answers with its audit: the list of what is missing
// or damaged, which is sent again, or the receipt, which is checked and kept. Nothing but that receipt makes it Synced
// (never-lose F1, F2, F8).
//
// Nothing is given up by itself: no answer, 5xx, 507, 408 and 429 are tried again for ever, later and later, with one
// line said for each change of state. So is 401 when there is a credential, which is then read again each time: an
// alarm. A recording ends with an error on what will not change: other 4xx, a manifest that is damaged or changes under
// it, files that are not what the manifest lists (everything else is sent first), an empty recording, a server that
// keeps asking for the same files.
//
// Nothing local is touched but the receipt. Killed at any instruction it can be run again; it remembers nothing and
// asks the server what is there. Memory: about 300 bytes for each chunk of the open recordings that grow, and of as
// many closed ones as there are connections.
//
// Error kinds of a recording: damaged (local data), refused and permission (the server said no for good), protocol (it
// does not speak this protocol, or its receipt is wrong), io and no_space (the receipt cannot be kept). Of the whole:
// not_found (no recording), unavailable (the deadline, or stopped by stop_fd; then with EINTR in sys_errno, unless a
// spool was followed).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "digest/ed25519.hpp"
#include "http/backoff.hpp"
#include "http/client.hpp"
#include "sys/file_system.hpp"
#include "upload/observer.hpp"

namespace mc::upload {

enum class Follow : std::uint8_t {
  no,   // an open recording is sent as far as it is
  yes,  // wait for more: lines, recordings, the directory itself
};

struct UploadOptions {
  std::string base_url;  // as http::check_base_url gave it
  Follow follow = Follow::no;
  unsigned parallel = 4;
  std::optional<std::int64_t> deadline_ns;  // of the monotonic clock
  std::vector<digest::PublicKey> keys;      // pinned; none: the key that the server gives is believed
  http::ClientOptions client;               // its stop_fd is not used
  http::BackoffOptions backoff;
  http::Fraction fraction = http::random_fraction();
  int stop_fd = -1;
  std::int64_t let_go_ns = 60'000'000'000;  // after which an open recording in which nothing happens is let go of
};

struct UploadSummary {
  std::size_t recordings = 0;  // that were looked at
  std::size_t synced = 0;
  std::size_t still_open = 0;  // everything listed so far is at the server, but they go on (Follow::no)
  std::size_t failed = 0;
  std::optional<Error> first_error;
};

Result<UploadSummary> upload(sys::FileSystem& fs, const std::string& directory, const UploadOptions& options,
                             Observer& observer, const Log& log);

enum class UploadEnd : std::uint8_t { synced, still_open };

// The same of one recording, whose error is then the function's.
Result<UploadEnd> upload_recording(sys::FileSystem& fs, const std::string& directory, const UploadOptions& options,
                                   Observer& observer, const Log& log);

}  // namespace mc::upload
