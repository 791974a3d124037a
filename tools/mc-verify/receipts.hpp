// Receipts checked without a server: mc-verify --receipt.
#pragma once

#include <string>
#include <vector>

#include "spool/recording.hpp"

namespace mc::tool_verify {

struct JudgedReceipt {
  std::string name;
  wire::Receipt receipt;
  bool manifest_checked = false;  // it is for the manifest that lies beside it
};
struct ReceiptReport {
  std::vector<JudgedReceipt> proven;  // signed by one of the keys, and not contradicted by a manifest
  std::vector<spool::Finding> findings;
};

// `path` is a receipt, with or without its manifest in the same directory; or a recording's directory, every receipt in
// it. Kinds: not_found (nothing there, or a directory without a manifest), and those of the file system.
Result<ReceiptReport> check_receipts(sys::FileSystem& fs, const std::string& path,
                                     const std::vector<digest::PublicKey>& keys);

}  // namespace mc::tool_verify
