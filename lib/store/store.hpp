// Where a server keeps recordings: the seam between the HTTP contract and the medium (files now, S3 later). The
// layout is that of a spool (design section 2): SESSION/TAKE/GUEST/NAME with the same bytes; whatever a store keeps
// besides has a name that begins with '.'.
//
// Calling sequence for one file:
//
//   auto staged = store.stage(path, name);   // hidden; gone again when the object dies unpublished, or after a crash
//   staged->write(…) …                       // hashed while it is written
//   if (staged->sha256() != expected) return …;
//   staged->publish(OnConflict::quarantine);  // returns only when the bytes and the name are durable
//
// After a crash at any point before publish() returned, the file is there whole or not at all; after it returned
// `created` or `same`, it is there. Nothing published is ever changed or removed, with the one exception of
// publish_over, which is a compare-and-swap on the change token.
//
// Every implementation passes tests/unit/store_conformance.hpp. All functions may be called from any thread; one
// Staged or Object is used by one thread at a time. Calls block on the medium: never make them on a network thread.
//
// Error kinds: not_found (no such recording or file), no_space (with ENOSPC or EDQUOT in sys_errno: the store is
// full, everything already in it is untouched), permission, io, unavailable (may be tried again).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "wire/names.hpp"

namespace mc::store {

struct ObjectInfo {
  std::string name;
  std::uint64_t size_bytes = 0;
  std::string token;     // differs when the bytes may have changed: inode and ctime, or an ETag
  bool settled = false;  // the token is old enough that any later change is sure to change it as well
};

// A file opened for reading. It goes on reading the bytes it was opened on, whatever the name gets meanwhile.
class Object {
 public:
  virtual ~Object() = default;
  virtual const ObjectInfo& info() const = 0;
  // Up to into.size() bytes at `offset`; fewer only at the end.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) = 0;
  // Makes sure of the bytes' durability and that the next reads come from the medium, not from a cache before it.
  virtual Status settle() = 0;
};

enum class PutOutcome : std::uint8_t {
  created,   // durable under the name
  same,      // these very bytes were there already, and are durable
  conflict,  // other bytes are there, untouched; ours went where OnConflict says
};
enum class OnConflict : std::uint8_t {
  quarantine,  // kept, durably, as the hidden file .conflict-NAME-<first 16 digits of the SHA-256>
  discard,
};
enum class Displaced : std::uint8_t {
  drop,        // the new bytes contain the old ones
  quarantine,  // kept as the hidden file .damaged-NAME-<first 16 digits of the SHA-256>
};

class Staged {
 public:
  virtual ~Staged() = default;  // not published: removed as far as possible
  virtual Status write(ByteView bytes) = 0;
  // Makes what was written so far durable, so that it can be counted on when more comes. After an error the stage is
  // used up.
  virtual Status sync() = 0;
  virtual std::uint64_t size_bytes() const = 0;  // written so far
  virtual std::string sha256() const = 0;        // of everything written so far, hexadecimal
  // Reads back what was written, from the start: for a manifest, which is looked into before it is published.
  virtual Result<ByteBuffer> read_back(std::uint64_t limit_bytes) = 0;

  // Put if absent. After any answer or error the stage is used up.
  virtual Result<PutOutcome> publish(OnConflict on_conflict) = 0;
  // Compare and swap: takes the place of the object that `expected` describes; false when another one (or none) is
  // there now, and then nothing has changed.
  virtual Result<bool> publish_over(const ObjectInfo& expected, Displaced displaced) = 0;
};

// A small text that belongs to a session and not to a recording.
struct Document {
  std::string text;
  std::string token;  // of these very bytes
  bool operator==(const Document&) const = default;
};

class Store {
 public:
  virtual ~Store() = default;
  // `name` is a file of a recording, or a hidden name of this module's callers. Makes what the path needs.
  virtual Result<std::unique_ptr<Staged>> stage(const wire::RecordingPath& path, const std::string& name) = 0;
  virtual Result<std::unique_ptr<Object>> open(const wire::RecordingPath& path, const std::string& name) = 0;
  // The files of a recording by name, sorted; hidden ones and strangers left out. not_found: no such recording.
  virtual Result<std::vector<ObjectInfo>> list(const wire::RecordingPath& path) = 0;
  // Makes every name in the recording durable, also those that came there by other hands (cp, rsync).
  virtual Status sync(const wire::RecordingPath& path) = 0;
  // The same for one object that was opened: whoever published it may not have got as far as the syncs. Costs nothing
  // when asked again for an object with the same change token.
  virtual Status ensure_durable(const wire::RecordingPath& path, const ObjectInfo& info);
  // The guests whose recordings lie in a take, by name, sorted. None at all is no error.
  virtual Result<std::vector<std::string>> recordings(const std::string& session, const std::string& take) = 0;
  // The session's document, durable by the time it is returned: nobody acts on what a power cut would take back.
  // Nothing: it has none.
  virtual Result<std::optional<Document>> read_document(const std::string& session) = 0;
  // Compare and swap: durable when it returns true. `expected` is the token that was read; nothing: there must be none.
  // False: another one is there now, and nothing has changed. After an error it may have been swapped or not.
  virtual Result<bool> swap_document(const std::string& session, const std::optional<std::string>& expected,
                                     std::string_view text) = 0;
  virtual Result<std::uint64_t> free_bytes() = 0;  // that more can be stored in
  // Can the store be read and written at all? For readiness checks; cheap.
  virtual Status ready() = 0;
};

// Publishes a small text under `name` unless there is one already. conflict: another text is there (and stays).
Result<PutOutcome> put_if_absent(Store& store, const wire::RecordingPath& path, const std::string& name,
                                 std::string_view text);
// The whole object, at most `limit_bytes` of it (more is ErrorKind::damaged).
Result<ByteBuffer> read_object(Object& object, std::uint64_t limit_bytes);

}  // namespace mc::store
