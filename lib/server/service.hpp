// The HTTP contract of mc-protocol(7) without HTTP: requests in, responses out, over a Store. All of it blocks on the
// store and is called from worker threads, any number at once; one Upload is used by one thread at a time.
//
//   begin_upload → Upload | Response     before the body is read (and before 100 Continue is sent)
//   upload->write(piece) …               a response: stop, and answer that
//   upload->finish()                     the answer: 201 or 200 only when the bytes are durable
//   upload->park(piece)                  instead of either: the connection broke, the upload may go on later
//   handle(request)                      everything that has no body
//   command(request, body)               what changes a session; its body is small
//   admit_control(request)               before the connection becomes a control connection
//
// Dropping an Upload without finish() or park() leaves nothing behind; what is parked goes with the service. "Synced"
// is said only by Auditor (audit.hpp).
#pragma once

#include <array>
#include <mutex>
#include <variant>

#include "base/log.hpp"
#include "digest/ed25519.hpp"
#include "server/audit.hpp"
#include "server/authority.hpp"
#include "server/control_log.hpp"
#include "server/joined.hpp"
#include "server/message.hpp"
#include "server/metrics.hpp"
#include "server/partial_uploads.hpp"
#include "server/route.hpp"
#include "server/sessions.hpp"
#include "store/held_index.hpp"
#include "store/store.hpp"

namespace mc::server {

inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;  // a larger one is answered 413

// Does answering this take time in proportion to a whole recording (an audit, a listing)?
bool is_long_job(const Request& request);
// Is it one with a small body, that is read as a whole (mc-session(7))?
bool is_command(const Request& request);
bool is_control(const Request& request);  // wants to become a control connection
// Does answering this wait for another connection to let go of its upload? Never to be done where uploads are parked.
bool waits_for_upload(const Request& request);

class Upload;

struct Policy {
  Authority* authority = nullptr;     // null: everybody may do everything
  ControlLog* control_log = nullptr;  // null: nowhere
};

class Service {
 public:
  // Everything is borrowed and outlives the service.
  Service(store::Store& store, store::HeldIndex& index, const digest::PrivateKey& key, digest::PublicKey public_key,
          Metrics& metrics, Log log, Policy policy = {});

  Response handle(const Request& request);
  Response command(const Request& request, std::string_view body);
  // Who may sit where in a session.
  struct Admission {
    std::string session;
    std::string guest;          // a guest's token: nobody else
    bool may_be_guest = false;  // whoever it says it is
  };
  std::variant<Response, Admission> admit_control(const Request& request);
  Sessions& sessions() { return sessions_; }
  // PUT of a whole file, PATCH of the rest of one. `interrupt` breaks the connection that the upload is fed by.
  std::variant<Response, std::unique_ptr<Upload>> begin_upload(const Request& request,
                                                               PartialUploads::Interrupt interrupt);

 private:
  friend class Upload;

  Response refuse_method(const Route& route) const;
  std::optional<Response> refuse_bearer(const Request& request, const Route& route);
  std::optional<Response> upload_offset(const FileRoute& route, const Request& request);
  std::optional<Response> resume(const Request& request, Upload& upload);
  Response read_file(const FileRoute& route, const Request& request);
  Response list(const ListingRoute& route);
  Response key(const KeyRoute& route);
  Response ready();
  Response failed(const Error& error, const std::string& doing);
  Result<Response> store_file(Upload& upload);
  void note(const char* event, const Upload& upload);
  Result<Response> store_manifest(Upload& upload);
  std::mutex& manifest_lock(const wire::RecordingPath& path);

  store::Store& store_;
  store::HeldIndex& index_;
  digest::PublicKey public_key_;
  Metrics& metrics_;
  Log log_;
  Policy policy_;
  Auditor auditor_;
  Joiner joiner_;
  PartialUploads partial_;
  Sessions sessions_;
  std::array<std::mutex, 64> manifest_mutexes_;  // by path: replacing a manifest is read, compare, swap
};

// One PUT or PATCH between its header and its answer.
class Upload {
 public:
  ~Upload() { service_.partial_.end(key_, this); }
  std::optional<Response> write(ByteView bytes);
  Response finish();
  // `rest` came before the connection broke. What cannot be made durable is dropped.
  void park(ByteView rest);
  Upload(const Upload&) = delete;  // known by its address
  Upload& operator=(const Upload&) = delete;

 private:
  friend class Service;
  Upload(Service& service, FileRoute route, std::string recording_id, std::string sha256)
      : service_(service),
        route_(std::move(route)),
        recording_id_(std::move(recording_id)),
        sha256_(std::move(sha256)),
        key_(route_.path.text(), route_.name, recording_id_, sha256_) {}
  Response store();

  Service& service_;
  FileRoute route_;
  std::string recording_id_;
  std::string sha256_;  // what the client says
  PartialUploads::Key key_;
  bool is_rest_ = false;  // PATCH
  std::unique_ptr<store::Staged> staged_;
};

}  // namespace mc::server
