// Is everything that a manifest lists held, and if so, the receipt. The only place that says "synced", and it says so
// only about bytes that were read back from the store (HeldIndex).
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "digest/ed25519.hpp"
#include "server/control_log.hpp"
#include "server/metrics.hpp"
#include "server/route.hpp"
#include "store/held_index.hpp"
#include "store/store.hpp"
#include "wire/manifest.hpp"
#include "wire/protocol.hpp"
#include "wire/receipt.hpp"

namespace mc::server {

// Why these bytes cannot be taken as the manifest of `recording_id`; empty: they can. A torn tail is a reason too: the
// sender sends whole lines.
struct ManifestObjection {
  std::string type;  // of the problem document: damaged-manifest, recording-mismatch
  std::string detail;
  explicit operator bool() const { return !type.empty(); }
};
ManifestObjection check_manifest(ByteView bytes, const wire::Manifest& manifest, const std::string& recording_id);

class Auditor {
 public:
  Auditor(store::Store& store, store::HeldIndex& index, const digest::PrivateKey& key, digest::PublicKey public_key,
          Metrics& metrics, Log log, ControlLog* control_log = nullptr)
      : store_(store),
        index_(index),
        key_(key),
        public_key_(public_key),
        metrics_(metrics),
        log_(std::move(log)),
        control_log_(control_log) {}

  // `bytes` is a manifest that check_manifest has nothing against and that is stored under `path`. Looks at every file
  // it lists: there, the right size, the right hash. A closed manifest with at least one chunk and no fault gets the
  // receipt: made once, and the same text ever after. One without chunks is never synced (never-lose F4).
  // An error only when the store cannot answer at all; a file that cannot be read is a fault ("damaged").
  Result<wire::AuditAnswer> audit(const wire::RecordingPath& path, ByteView bytes, const wire::Manifest& manifest,
                                  AuditDepth depth = AuditDepth::what_changed);

  // Everything that the manifest lists and that is not held as it lists it. `held` is what Store::list says.
  Result<std::vector<wire::AuditFault>> find_faults(const wire::RecordingPath& path, const wire::Manifest& manifest,
                                                    const std::vector<store::ObjectInfo>& held,
                                                    AuditDepth depth = AuditDepth::what_changed);

 private:
  Result<std::string> receipt(const wire::RecordingPath& path, ByteView bytes, const wire::Manifest& manifest);
  // Between staging a receipt and publishing it: is everything that was audited still under these names?
  Status still_there(const wire::RecordingPath& path, const wire::Manifest& manifest);
  void note_made(const wire::Receipt& receipt) const;
  bool is_ours(const std::string& text, const wire::Receipt& wanted) const;

  store::Store& store_;
  store::HeldIndex& index_;
  const digest::PrivateKey& key_;
  digest::PublicKey public_key_;
  Metrics& metrics_;
  Log log_;
  ControlLog* control_log_;
};

}  // namespace mc::server
