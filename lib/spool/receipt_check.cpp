#include <fmt/format.h>

#include <algorithm>

#include "digest/sha256.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

// The server may hold the recording of a guest whose name was taken as GUEST~2 (mc-protocol(7), recording-taken).
bool is_path_or_rebound(const wire::RecordingPath& held, const wire::RecordingPath& own) {
  return held.session == own.session && held.take == own.take && wire::is_same_or_rebound(held.guest, own.guest);
}

tl::unexpected<Error> wrong(const std::string& what) { return fail(ErrorKind::damaged, "the receipt " + what); }

Status check_signature(const wire::Receipt& receipt, const digest::PublicKey& key) {
  if (receipt.key_fingerprint != key.fingerprint()) {
    return wrong(fmt::format("is signed by key {}, not by {}", receipt.key_fingerprint, key.fingerprint()));
  }
  const auto raw = digest::from_base64(receipt.signature_base64);
  digest::Signature signature{};
  if (!raw || raw->size() != signature.size()) return wrong("has a malformed signature");
  std::ranges::copy(*raw, signature.begin());
  if (!key.verifies(as_bytes(wire::signed_part(receipt)), signature)) return wrong("has a wrong signature");
  return {};
}

}  // namespace

Status check_receipt_content(const wire::Receipt& receipt, const LoadedManifest& loaded) {
  const wire::Manifest& manifest = loaded.manifest;
  if (!manifest.end) return wrong("is for a closed recording, and this one is open");
  if (!loaded.root_matches) return wrong("cannot be checked: the manifest's root does not match its bytes");
  if (receipt.recording_id != manifest.recording_id) {
    return wrong(fmt::format("is for recording {}, not for {}", receipt.recording_id, manifest.recording_id));
  }
  if (!manifest.path || !is_path_or_rebound(receipt.path, *manifest.path)) {
    return wrong(fmt::format("is for '{}', not for '{}'", receipt.path.text(),
                             manifest.path ? manifest.path->text() : std::string()));
  }
  if (receipt.root != manifest.end->root) return wrong("states another root");
  if (receipt.manifest_sha256 != digest::sha256_hex(loaded.bytes)) return wrong("is for another manifest");
  std::uint64_t bytes = 0;
  for (const auto& file : manifest.files) bytes += file.bytes();
  if (receipt.files != manifest.files.size() || receipt.chunks != manifest.chunk_count() || receipt.bytes != bytes) {
    return wrong(fmt::format("counts {} files, {} chunks, {} bytes; the manifest lists {}, {}, {}", receipt.files,
                             receipt.chunks, receipt.bytes, manifest.files.size(), manifest.chunk_count(), bytes));
  }
  return {};
}

Status check_receipt(const wire::Receipt& receipt, const LoadedManifest& loaded, const digest::PublicKey& key) {
  // The signature first: until it holds, nothing else in the receipt means anything.
  MC_TRY(check_signature(receipt, key));
  return check_receipt_content(receipt, loaded);
}

ReceiptJudgement judge_receipt(const std::string& name, std::string_view text, const LoadedManifest* manifest,
                               const std::vector<digest::PublicKey>& keys) {
  ReceiptJudgement judged;
  const auto bad = [&](const char* problem, std::string detail) {
    judged.finding = Finding{name, problem, std::move(detail)};
    return judged;
  };
  auto receipt = wire::parse_receipt(text);
  if (!receipt) return bad("damaged", receipt.error().message);
  const auto parsed = wire::parse_file_name(name);
  if (parsed && parsed->key_fingerprint != receipt->key_fingerprint) return bad("wrong-name", "it names another key");
  const auto key = std::ranges::find(keys, receipt->key_fingerprint, &digest::PublicKey::fingerprint);
  if (key == keys.end() && !keys.empty()) return bad("untrusted", "its key is none of those that were given");
  if (key != keys.end()) {
    if (const auto status = check_signature(*receipt, *key); !status) {
      return bad("wrong-receipt", status.error().message);
    }
    judged.is_signed = true;
  }
  if (manifest != nullptr) {
    if (const auto status = check_receipt_content(*receipt, *manifest); !status) {
      return bad("wrong-receipt", status.error().message);
    }
  }
  judged.receipt = std::move(*receipt);
  return judged;
}

}  // namespace mc::spool
