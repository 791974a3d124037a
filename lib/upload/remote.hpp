// A recording on a server, as requests: what is held there, one file, the manifest and its audit, the key
// (mc-protocol(7)). Each call has one outcome; whether to try again is the caller's business.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "digest/ed25519.hpp"
#include "http/client.hpp"
#include "wire/names.hpp"
#include "wire/protocol.hpp"

namespace mc::upload {

// Where, and as whom.
struct Remote {
  std::string base_url;      // without a slash at the end
  wire::RecordingPath path;  // there; the guest's name may be a rebound one (GUEST~2)
  std::string recording_id;
};

// A recording's URL, as https://host/v1/recordings/SESSION/TAKE/GUEST/, with or without the last slash; the recording's
// id is not in it. Kind: usage.
Result<Remote> parse_recording_url(std::string_view url);

// What an answer, or the lack of one, means for the uploader.
enum class Verdict : std::uint8_t {
  accepted,
  try_again,  // no answer, or one that says later
  garbled,    // not an answer of this protocol, or one to a request that we did not make: it may be the line's fault
  mismatch,   // other bytes arrived than were announced
  taken,      // the path belongs to another recording
  conflict,   // other bytes are held under the name
  unusable,   // the local file is not what the manifest says, or not there
  no_entry,   // 401: the token is not (or no longer) accepted
  refused,    // for good
};
struct Reply {
  Verdict verdict = Verdict::accepted;
  Error error;                       // of every verdict but accepted
  std::uint32_t retry_after_ms = 0;  // as the server asked
  bool broke_off = false;            // try_again: there was no answer, and some of it may have arrived
  std::uint64_t held_bytes = 0;      // of it, that the server had when it was asked (Resume::ask_first); 0: unknown
  std::string body;
};

// A try that broke off leaves a part of the file at the server, which keeps it for a while: it is asked how much that
// is, and gets the rest. That it has nothing, or knows nothing of such things, is no error: then it gets the whole.
enum class Resume : std::uint8_t { no, ask_first };

Reply put_file(http::Client& client, const Remote& remote, const std::string& name, const std::string& sha256,
               sys::File& file, std::uint64_t size_bytes, Resume resume);
// The body is the audit's answer (wire::parse_audit_answer).
Reply put_manifest(http::Client& client, const Remote& remote, ByteView bytes, Resume resume);
// The body is a line for each held file (parse_listing); nothing held at all is an empty body.
Reply get_listing(http::Client& client, const Remote& remote);
Result<std::vector<wire::HeldFile>> parse_listing(std::string_view lines);
// The body is a public key as PEM.
Reply get_key(http::Client& client, const std::string& base_url);
// The body is the file. For small ones: a manifest, a receipt.
Reply get_file(http::Client& client, const Remote& remote, const std::string& name, std::uint64_t limit_bytes);

}  // namespace mc::upload
