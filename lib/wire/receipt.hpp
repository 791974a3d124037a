// The receipt: the server's signed statement that it holds, durably, exactly what the manifest lists. Text, one `key
// value` per line, the signature last:
//
//   maycast-receipt 1
//   recording <id>
//   path SESSION/TAKE/GUEST          (percent-encoded components)
//   root <sha256>
//   manifest <sha256 of the whole manifest file>
//   files 61
//   chunks 60
//   bytes 48123456
//   time 2026-11-22T10:01:00.000000000Z
//   key <fingerprint, 16 hexadecimal digits>
//   signature <base64 of 64 bytes: Ed25519 over every byte before this line>
//
// The file's name is receipt-<fingerprint>. Signing and checking are spool/receipt_check.hpp and the server.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "wire/names.hpp"

namespace mc::wire {

inline constexpr std::uint64_t kMaxReceiptBytes = 64 * 1024;  // of a file that is taken for one

struct Receipt {
  std::string recording_id;
  RecordingPath path;
  std::string root;
  std::string manifest_sha256;
  std::uint64_t files = 0;  // inits and chunks, the manifest itself not counted
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;  // of those files
  std::int64_t wall_ns = 0;
  std::string key_fingerprint;
  std::string signature_base64;
  bool operator==(const Receipt&) const = default;
};

std::string signed_part(const Receipt& receipt);       // every line before the signature's
std::string format_receipt(const Receipt& receipt);    // signed_part + signature line
Result<Receipt> parse_receipt(std::string_view text);  // strict: exactly these lines in this order. Kind: damaged

}  // namespace mc::wire
