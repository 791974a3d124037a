#include "server/audit.hpp"

#include <algorithm>
#include <unordered_map>

#include "digest/sha256.hpp"

namespace mc::server {
namespace {

constexpr std::uint64_t kMaxReceiptBytes = 16 * 1024;

}  // namespace

ManifestObjection check_manifest(ByteView bytes, const wire::Manifest& manifest, const std::string& recording_id) {
  const auto damaged = [](std::string detail) { return ManifestObjection{"damaged-manifest", std::move(detail)}; };
  if (!manifest.damage.empty()) {
    const wire::ManifestDamage& first = manifest.damage.front();
    return damaged("line " + std::to_string(first.line) + ": " + first.what);
  }
  if (manifest.version != wire::kManifestVersion) return damaged("no header line of a version that is known here");
  if (manifest.torn_tail || manifest.intact_bytes != bytes.size()) return damaged("the last line is not whole");
  if (!wire::is_recording_id(manifest.recording_id) || !manifest.path) return damaged("no line '# recording'");
  if (manifest.recording_id != recording_id) {
    return {"recording-mismatch", "the manifest is of another recording than the header says"};
  }
  if (!manifest.end) return {};
  if (manifest.end->chunks != manifest.chunk_count()) return damaged("the end line counts other chunks");
  if (manifest.end->root != digest::sha256_hex(bytes.first(manifest.end->end_offset))) {
    return damaged("the root is not the SHA-256 of the lines before it");
  }
  return {};
}

Result<wire::AuditAnswer> Auditor::audit(const wire::RecordingPath& path, ByteView bytes,
                                         const wire::Manifest& manifest, AuditDepth depth) {
  ++metrics_.audits;
  wire::AuditAnswer answer;
  answer.closed = manifest.end.has_value();
  MC_TRY_ASSIGN(const auto held, store_.list(path));
  MC_TRY_ASSIGN(answer.faults, find_faults(path, manifest, held, depth));
  if (answer.closed && answer.faults.empty() && manifest.chunk_count() > 0) {
    MC_TRY_ASSIGN(answer.receipt, receipt(path, bytes, manifest));
    answer.synced = true;
  }
  return answer;
}

Result<std::vector<wire::AuditFault>> Auditor::find_faults(const wire::RecordingPath& path,
                                                           const wire::Manifest& manifest,
                                                           const std::vector<store::ObjectInfo>& held,
                                                           AuditDepth depth) {
  std::unordered_map<std::string_view, const store::ObjectInfo*> by_name;
  for (const store::ObjectInfo& info : held) by_name.emplace(info.name, &info);

  std::vector<wire::AuditFault> faults;
  for (const wire::ManifestFile& file : manifest.files) {
    const auto found = by_name.find(file.name);
    if (found == by_name.end()) {
      faults.push_back({file.name, "missing"});
      continue;
    }
    if (found->second->size_bytes != file.bytes()) {
      faults.push_back({file.name, "damaged"});
      continue;
    }
    const auto sha256 =
        depth == AuditDepth::everything ? index_.read_again(path, file.name) : index_.sha256_of(path, *found->second);
    if (!sha256 && sha256.error().kind == ErrorKind::not_found) {
      faults.push_back({file.name, "missing"});
    } else if (!sha256 && sha256.error().kind == ErrorKind::unavailable) {
      return fail(sha256.error());
    } else if (!sha256) {
      log_(LogLevel::warning, sha256.error().message);
      faults.push_back({file.name, "damaged"});
    } else if (*sha256 != file.sha256) {
      faults.push_back({file.name, "damaged"});
    }
  }
  return faults;
}

bool Auditor::is_ours(const std::string& text, const wire::Receipt& wanted) const {
  const auto held = wire::parse_receipt(text);
  if (!held) return false;
  wire::Receipt same = wanted;
  same.wall_ns = held->wall_ns;
  same.signature_base64 = held->signature_base64;
  const auto raw = digest::from_base64(held->signature_base64);
  digest::Signature signature{};
  if (*held != same || !raw || raw->size() != signature.size()) return false;
  std::ranges::copy(*raw, signature.begin());
  return public_key_.verifies(as_bytes(wire::signed_part(*held)), signature);
}

// Staging makes the directory anew if somebody took the recording away since its files were looked at: a receipt must
// not come to lie there alone.
Status Auditor::still_there(const wire::RecordingPath& path, const wire::Manifest& manifest) {
  MC_TRY_ASSIGN(const auto held, store_.list(path));
  MC_TRY_ASSIGN(const auto faults, find_faults(path, manifest, held));
  if (faults.empty()) return {};
  return fail(ErrorKind::unavailable, "'" + path.text() + "' changed while it was audited");
}

void Auditor::note_made(const wire::Receipt& receipt) const {
  if (control_log_ == nullptr) return;
  control_log_->add("receipt", {{"path", receipt.path.text()},
                                {"recording", receipt.recording_id},
                                {"root", receipt.root},
                                {"manifest", receipt.manifest_sha256},
                                {"files", receipt.files},
                                {"chunks", receipt.chunks},
                                {"bytes", receipt.bytes},
                                {"key", receipt.key_fingerprint}});
}

Result<std::string> Auditor::receipt(const wire::RecordingPath& path, ByteView bytes, const wire::Manifest& manifest) {
  wire::Receipt wanted;
  wanted.recording_id = manifest.recording_id;
  wanted.path = path;
  wanted.root = manifest.end->root;
  wanted.manifest_sha256 = digest::sha256_hex(bytes);
  wanted.files = manifest.files.size();
  wanted.chunks = manifest.chunk_count();
  for (const wire::ManifestFile& file : manifest.files) wanted.bytes += file.bytes();
  wanted.wall_ns = system_clock().wall_ns();
  wanted.key_fingerprint = public_key_.fingerprint();
  const std::string name = wire::receipt_name(wanted.key_fingerprint);

  const auto sign = [&]() -> Result<std::string> {
    MC_TRY_ASSIGN(const auto signature, key_.sign(as_bytes(wire::signed_part(wanted))));
    wanted.signature_base64 = digest::to_base64(signature);
    return wire::format_receipt(wanted);
  };

  // The receipt says "durably": that includes names which came into the directory by other hands than ours.
  MC_TRY(store_.sync(path));
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto held = store_.open(path, name);
    if (held) {
      MC_TRY_ASSIGN(const ByteBuffer text, store::read_object(**held, kMaxReceiptBytes));
      if (std::string same(as_text(text)); is_ours(same, wanted)) return same;
      // Not a receipt for this manifest by this key: it proves nothing, but it is kept for a person to look at.
      log_(LogLevel::warning, "'" + path.text() + "/" + name + "' is not a valid receipt; made anew");
      MC_TRY_ASSIGN(const std::string fresh, sign());
      MC_TRY_ASSIGN(const auto staged, store_.stage(path, name));
      MC_TRY(staged->write(as_bytes(fresh)));
      MC_TRY_ASSIGN(const bool replaced, staged->publish_over((*held)->info(), store::Displaced::quarantine));
      if (replaced) {
        note_made(wanted);
        return fresh;
      }
      continue;
    }
    if (held.error().kind != ErrorKind::not_found) return fail(held.error());
    MC_TRY_ASSIGN(const std::string fresh, sign());
    MC_TRY_ASSIGN(const auto staged, store_.stage(path, name));
    MC_TRY(staged->write(as_bytes(fresh)));
    MC_TRY(still_there(path, manifest));
    MC_TRY_ASSIGN(const auto outcome, staged->publish(store::OnConflict::discard));
    if (outcome != store::PutOutcome::conflict) {
      ++metrics_.recordings_synced;
      note_made(wanted);
      return fresh;
    }
  }
  return fail(ErrorKind::unavailable, "the receipt of '" + path.text() + "' keeps changing");
}

}  // namespace mc::server
