// What goes over HTTP besides the files themselves (mc-protocol(7)): paths, header names, JSON documents. Both ends use
// these functions; neither spells a key or a path itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "wire/names.hpp"

namespace mc::wire {

inline constexpr char kRecordingHeader[] = "Maycast-Recording";   // the recording id, on every PUT
inline constexpr char kReprDigestHeader[] = "Repr-Digest";        // RFC 9530
inline constexpr char kContentDigestHeader[] = "Content-Digest";  // RFC 9530
// Resumable uploads, draft-ietf-httpbis-resumable-upload-10, section 4.
inline constexpr char kUploadOffsetHeader[] = "Upload-Offset";      // bytes that are there, or where the body begins
inline constexpr char kUploadCompleteHeader[] = "Upload-Complete";  // ?1: this is the rest, ?0: more is wanted
inline constexpr char kUploadLimitHeader[] = "Upload-Limit";
inline constexpr char kPartialUploadType[] = "application/partial-upload";
inline constexpr char kKeyHeader[] = "Maycast-Key";  // with GET /v1/key: the key's fingerprint

// "/v1/recordings/SESSION/TAKE/GUEST/" + name, each component percent-encoded.
std::string file_target(const RecordingPath& path, std::string_view name);
// "/v1/keys/FINGERPRINT": the server's public key as PEM. "/v1/key": the current one.
std::string key_target(std::string_view fingerprint);

// RFC 9530 with sha-256 only: `sha-256=:BASE64:`. Values are 64 hexadecimal digits on our side.
// Parsing picks sha-256 out of a list; nothing when there is none or it is malformed.
std::string format_digest(std::string_view base64);
std::optional<std::string> parse_digest(std::string_view header);  // the base64

// One line of GET …/GUEST/ (application/jsonl).
struct HeldFile {
  std::string name;
  std::uint64_t size_bytes = 0;
  std::string sha256;
  bool operator==(const HeldFile&) const = default;
};
std::string format_held_file(const HeldFile& file);
Result<HeldFile> parse_held_file(std::string_view line);  // kind: protocol

// The answer to PUT …/manifest.
struct AuditFault {
  std::string name;
  std::string problem;  // "missing" or "damaged"
  bool operator==(const AuditFault&) const = default;
};
struct AuditAnswer {
  bool closed = false;             // the manifest has its `# end`
  bool synced = false;             // everything is held; then `receipt` is set
  std::vector<AuditFault> faults;  // the NACK: exactly what must be sent (again)
  std::string receipt;             // the receipt file's text
  bool operator==(const AuditAnswer&) const = default;
};
std::string format_audit_answer(const AuditAnswer& answer);
Result<AuditAnswer> parse_audit_answer(std::string_view json);  // kind: protocol

// RFC 9457 problem details (application/problem+json). `type` is a short word of ours, sent as "urn:maycast:problem:" +
// it.
struct Problem {
  std::string type;  // recording-taken, conflict, digest-mismatch, no-space, bad-name, not-found, too-large, …
  int status = 0;
  std::string title;
  std::string detail;
  bool operator==(const Problem&) const = default;
};
std::string format_problem(const Problem& problem);
std::optional<Problem> parse_problem(std::string_view json);  // nothing when it is not one

}  // namespace mc::wire
