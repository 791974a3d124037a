// What an upload tells while it goes on, from the thread that called upload().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "wire/names.hpp"
#include "wire/protocol.hpp"

namespace mc::upload {

struct UploadProgress {
  std::uint64_t recordings = 0;                   // that are being looked after
  std::uint64_t files_sent = 0, files_known = 0;  // inits and chunks; sent: held by the server
  std::uint64_t chunks_sent = 0, chunks_known = 0;
  std::uint64_t bytes_sent = 0, bytes_known = 0;
  std::uint64_t bytes_moved = 0;  // by this run
  double lag_s = 0;               // of media that is recorded and not at the server
  bool closed = false;            // all of them

  UploadProgress& operator+=(const UploadProgress& other);
};

// Which recording it is about. The path is the one at the server: it changes when the guest's name was taken there.
struct Which {
  std::string directory;
  std::string recording_id;
  wire::RecordingPath path;
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void ready() {}  // it has begun to follow, whether there is anything, and the server is there, or not

  // Of one recording.
  virtual void started(const Which& which) = 0;
  virtual void uploaded(const Which& which, const std::string& name, std::uint64_t bytes,
                        const std::string& sha256) = 0;
  virtual void refused_by_audit(const Which& which, const std::vector<wire::AuditFault>& faults) = 0;  // the NACK
  virtual void synced(const Which& which, const std::string& receipt_name, const UploadProgress& progress) = 0;
  // A file on this disk is not what the manifest lists, though the server holds it right: after `synced`.
  virtual void damaged(const Which& which, const std::string& name, const std::string& reason) = 0;
  virtual void failed(const std::string& directory, const Error& error) = 0;  // others go on

  // Of the server, and of all recordings together.
  virtual void waiting(const std::string& reason, double seconds) = 0;
  virtual void alarm(const std::string& reason) = 0;  // a person is needed; the upload goes on trying
  virtual void progress(const UploadProgress& all) = 0;
};

}  // namespace mc::upload
