// Names: of recordings (SESSION/TAKE/GUEST) and of the files in a recording. The same rules on both ends and in every
// tool; whatever comes from outside goes through here before it becomes part of a path or a URL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"

namespace mc::wire {

// Where a recording lives on a server: studio-a/001/alice. Session and guest: 1 to 100 bytes of valid UTF-8 without
// control characters, '/', '\\' and not beginning with '.'; take: 3 to 9 digits, not zero.
struct RecordingPath {
  std::string session;
  std::string take;
  std::string guest;
  bool operator==(const RecordingPath&) const = default;

  std::string text() const { return session + "/" + take + "/" + guest; }
};
bool is_name(std::string_view component);
// Is `held` the guest, or the name that it got instead because its own was taken: GUEST~2, GUEST~3, …?
bool is_same_or_rebound(std::string_view held, std::string_view guest);
bool is_take(std::string_view component);
Result<RecordingPath> parse_recording_path(std::string_view text);  // kind: usage

// 128 random bits as 32 lower-case hexadecimal digits, made by the guest.
bool is_recording_id(std::string_view text);

inline constexpr char kManifestName[] = "manifest";
enum class FileKind : std::uint8_t { manifest, init, chunk, receipt };
struct FileName {
  FileKind kind = FileKind::manifest;
  std::uint32_t number = 0;     // init, chunk
  std::string key_fingerprint;  // receipt
};
// Nothing unless `name` is exactly the name of a file of a recording ("chunk_000001.m4s"; more digits only when
// needed).
std::optional<FileName> parse_file_name(std::string_view name);
std::string init_name(InitNumber number);    // init_001.mp4
std::string chunk_name(ChunkNumber number);  // chunk_000001.m4s
std::string receipt_name(std::string_view key_fingerprint);

// RFC 3986: everything but unreserved characters becomes %XX. `decode` refuses a broken escape.
std::string percent_encode(std::string_view text);
std::optional<std::string> percent_decode(std::string_view text);
bool is_utf8(std::string_view text);
bool is_sha256_hex(std::string_view text);  // 64 lower-case digits

}  // namespace mc::wire
