// What mc-push does with one recording: bring it to the server, and come back only with the proof.
//
//   UploadOptions options; …
//   MC_TRY_ASSIGN(const UploadEnd end, upload_recording(fs, directory, options, observer, log));
//   end == UploadEnd::synced   // the receipt lies in `directory`, durably
//
// It follows the lines of the manifest, never the entries of the directory. Each listed file is hashed again and sent,
// several at once, unless the server said that it holds it. Once the manifest is closed and every file is there, the
// manifest itself is sent, and the server answers with its audit: the list of what is missing or damaged, which is sent
// again, or the receipt, which is checked and kept. Nothing but that receipt makes it Synced (never-lose F1, F2, F8).
//
// It never gives up by itself: no answer, 5xx, 507, 408 and 429 are tried again for ever, later and later, with one
// line said for each change of state. So is 401 when there is a credential, which is then read again each time: an
// alarm. It ends with an error on what will not change: 4xx, a manifest that is damaged
// or changes under it, files that are not what the manifest lists (everything else is sent first), an empty recording,
// a server that keeps asking for the same files.
//
// Nothing local is touched but the receipt. Killed at any instruction it can be run again; it remembers nothing and
// asks the server what is there.
//
// Error kinds: not_found (no recording), damaged (local data), refused and permission (the server said no for good),
// protocol (it does not speak this protocol, or its receipt is wrong), unavailable (the deadline; with EINTR in
// sys_errno: stopped by stop_fd), io and no_space (the receipt cannot be kept).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "digest/ed25519.hpp"
#include "http/backoff.hpp"
#include "http/client.hpp"
#include "sys/file_system.hpp"
#include "wire/protocol.hpp"

namespace mc::upload {

enum class Follow : std::uint8_t {
  no,   // an open recording is sent as far as it is
  yes,  // wait for more lines until it is closed; also for the directory itself
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
};

enum class UploadEnd : std::uint8_t {
  synced,
  still_open,  // everything listed so far is at the server, but the recording goes on (Follow::no)
};

struct UploadProgress {
  std::uint64_t files_sent = 0, files_known = 0;  // inits and chunks; sent: held by the server
  std::uint64_t chunks_sent = 0, chunks_known = 0;
  std::uint64_t bytes_sent = 0, bytes_known = 0;
  std::uint64_t bytes_moved = 0;  // by this run
  double lag_s = 0;               // of media that is recorded and not at the server
  bool closed = false;
};

// Told what happens, from the thread that called upload_recording.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void ready() {}  // it has begun to follow, whether the server is there or not
  virtual void started(const std::string& recording_id, const wire::RecordingPath& path) = 0;
  virtual void uploaded(const std::string& name, std::uint64_t bytes, const std::string& sha256) = 0;
  virtual void waiting(const std::string& reason, double seconds) = 0;
  virtual void alarm(const std::string& reason) = 0;  // a person is needed; the upload goes on trying
  virtual void refused_by_audit(const std::vector<wire::AuditFault>& faults) = 0;  // the NACK
  virtual void synced(const std::string& receipt_name, const UploadProgress& progress) = 0;
  virtual void progress(const UploadProgress& progress) = 0;
};

Result<UploadEnd> upload_recording(sys::FileSystem& fs, const std::string& directory, const UploadOptions& options,
                                   Observer& observer, const Log& log);

}  // namespace mc::upload
