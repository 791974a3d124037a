// A recording directory, read: what any tool but the writer does with it. Answers, never repairs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "digest/ed25519.hpp"
#include "mp4/movie.hpp"
#include "mp4/stream_parser.hpp"
#include "sys/file_system.hpp"
#include "wire/manifest.hpp"
#include "wire/receipt.hpp"

namespace mc::spool {

inline constexpr std::uint64_t kMaxManifestBytes = 1U << 30;
inline constexpr std::uint64_t kMaxInitBytes = mp4::kMaxHeaderBoxBytes;
inline constexpr std::uint64_t kMaxChunkFileBytes = 1U << 30;  // of a chunk, and of its journal

struct LoadedManifest {
  ByteBuffer bytes;  // the file as it is
  wire::Manifest manifest;
  bool root_matches = false;  // closed, and the root is the SHA-256 of the bytes before the `# end` line
};
LoadedManifest load_manifest_bytes(ByteBuffer bytes);
// kind not_found: no such directory or no manifest in it.
Result<LoadedManifest> load_manifest(sys::FileSystem& fs, const std::string& directory);

// What an init line says of a movie's tracks.
std::vector<wire::TrackSummary> summarise(const mp4::Movie& movie);
// The lines of an init whose bytes say `movie`.
std::string init_lines(InitNumber number, const mp4::Movie& movie, ByteView bytes);

// SHA-256 of a file, read in pieces. The length is that of what was read.
struct FileHash {
  std::string sha256;
  std::uint64_t bytes = 0;
};
Result<FileHash> hash_file(sys::FileSystem& fs, const std::string& path);

// One thing that is wrong with a recording, named.
struct Finding {
  std::string name;     // the file, or "manifest"
  std::string problem;  // missing, damaged, gap-unexplained, not-a-key-frame, out-of-order, wrong-name, …
  std::string detail;   // for a person
};
struct VerifyReport {
  std::vector<Finding> findings;   // empty: all is well
  std::vector<std::string> notes;  // worth saying, not wrong: a torn tail, an orphan that recovery will adopt
  bool closed = false;
  std::string recording_id;
  wire::RecordingPath path;
  std::string root;  // closed recordings
  std::uint32_t chunks = 0;
  std::uint64_t bytes = 0;
  std::uint64_t video_frames = 0, audio_frames = 0;
  std::vector<std::string> receipts;  // fingerprints of those whose signature and content are right
};
struct VerifyOptions {
  std::vector<digest::PublicKey> keys;  // pinned; a receipt of another key is a finding when any is given
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes; may be empty
};
// fsck: every line of the manifest, every file's length and hash, names and numbers without holes, each chunk's boxes
// against its init, key frame first, strictly rising decode times, samples against the gap ledger, receipts.
// An error (not a finding) only when the directory cannot be read at all.
Result<VerifyReport> verify_recording(sys::FileSystem& fs, const std::string& directory, const VerifyOptions& options);

// Is `receipt` a true statement about these manifest bytes (root, hash, counts, id, path, where a guest whose name was
// taken may stand as GUEST~2)? Says nothing about who made it. Kind: damaged, saying which part is not.
Status check_receipt_content(const wire::Receipt& receipt, const LoadedManifest& manifest);
// The same, and signed by `key`.
Status check_receipt(const wire::Receipt& receipt, const LoadedManifest& manifest, const digest::PublicKey& key);

// A receipt file, judged by its name and text: what is wrong with it, or nothing. `manifest` null: there is none to
// compare with. Without keys the content is judged, not the signature; with keys it must be of one of them.
struct ReceiptJudgement {
  std::optional<Finding> finding;
  wire::Receipt receipt;   // when there is no finding
  bool is_signed = false;  // by one of the keys
};
ReceiptJudgement judge_receipt(const std::string& name, std::string_view text, const LoadedManifest* manifest,
                               const std::vector<digest::PublicKey>& keys);

}  // namespace mc::spool
