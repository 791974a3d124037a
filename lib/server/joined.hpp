// The joined file of a recording, made while it is sent: GET /v1/recordings/SESSION/TAKE/GUEST.mp4 and .m4a.
//
//   joiner.get(path, join::Tracks::all, request.headers)    // the whole answer; its body is made as it is read
//
// Nothing is answered with a file that is not the whole recording. Before the first byte everything that the manifest
// lists is compared with what the store holds, as an audit does it; while it is sent each chunk is hashed again
// (join/stream.hpp), and one that has gone bad ends the transfer, which the client sees as a body that is too short,
// and is looked at anew by the next request.
//
// The entity tag is made of the manifest's hash and of the head's, in which every byte has its place: equal tags are
// equal files, whichever process made them and by whichever version of join.
//
// Plans (the heads, and where the media lies) are kept for the next range of the same file: some MiB for an hour. A
// plan counts as long as no file of the recording has another change token.
//
// Any thread. get() takes time in proportion to the recording, reading the body to a chunk.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "base/log.hpp"
#include "join/plan.hpp"
#include "server/audit.hpp"
#include "server/message.hpp"
#include "store/held_index.hpp"
#include "store/store.hpp"

namespace mc::server {

class Joiner {
 public:
  static constexpr std::size_t kMaxPlanBytes = 64U << 20;  // kept for later; the last one always is

  // All are borrowed and outlive it and the bodies that it gave.
  Joiner(store::Store& store, store::HeldIndex& index, Auditor& auditor, Log log)
      : store_(store), index_(index), auditor_(auditor), log_(std::move(log)) {}

  // Refusals are responses: 404 not-found (no such recording, or no sound in it), 409 recording-open, 409
  // recording-damaged with the names. An error when the store cannot answer.
  Result<Response> get(const wire::RecordingPath& path, join::Tracks tracks, const RequestHeaders& headers);

 private:
  struct Joined {
    join::Plan plan;
    std::string etag;
  };
  struct Kept {
    std::string key;  // path, tracks, and the change tokens of all files
    std::shared_ptr<const Joined> joined;
  };
  class Body;

  std::shared_ptr<const Joined> kept(const std::string& key);
  void keep(const std::string& key, std::shared_ptr<const Joined> joined);

  store::Store& store_;
  store::HeldIndex& index_;
  Auditor& auditor_;
  Log log_;
  std::mutex mutex_;
  std::list<Kept> recent_;  // the one used last in front
};

}  // namespace mc::server
