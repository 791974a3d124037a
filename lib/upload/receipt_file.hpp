// The receipt on the guest's own disk: the only thing that makes a recording Synced.
#pragma once

#include <optional>
#include <string>

#include "base/error.hpp"
#include "digest/ed25519.hpp"
#include "spool/recording.hpp"
#include "sys/file_system.hpp"
#include "wire/receipt.hpp"

namespace mc::upload {

// The receipt of `key` that lies in `directory`, when it is true of this manifest; made durable again, for it may have
// been put there just before a crash. Nothing: there is none, or it proves nothing.
// Kinds: those of the file system.
Result<std::optional<wire::Receipt>> find_receipt(sys::FileSystem& fs, const std::string& directory,
                                                  const spool::LoadedManifest& manifest, const digest::PublicKey& key);

// Checks what the server sent (text of a receipt for these manifest bytes, at this path, signed by `key`) and makes it
// durable as receipt-<fingerprint> in `directory`. Returns that name. Only after success may anybody say Synced.
//
// Written once: a valid receipt of the same key that lies there already stays as it is; one that is not valid is put
// aside under a hidden name, never deleted. A crash leaves the receipt or a hidden stage, which nobody takes for one.
//
// Kinds: protocol (the server's receipt is wrong, saying how), and those of the file system.
Result<std::string> keep_receipt(sys::FileSystem& fs, const std::string& directory, const std::string& text,
                                 const wire::RecordingPath& held_as, const spool::LoadedManifest& manifest,
                                 const digest::PublicKey& key);

}  // namespace mc::upload
