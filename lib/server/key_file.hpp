// The key that signs receipts, in a file of mode 0600 (PEM, PKCS #8), its public part beside it.
#pragma once

#include <string>

#include "digest/ed25519.hpp"
#include "sys/file_system.hpp"

namespace mc::server {

inline constexpr char kDefaultKeyName[] = ".receipt-key.pem";  // in the root of a file store

// Reads the key in `path`, or makes one there when there is none: durable before it is returned, because receipts
// signed by a key that a power cut took would be worthless. Also makes FILE.pub.pem ("x.pem": "x.pub.pem") when it is
// not there. Never replaces anything. Call it before threads start: it sets the umask for a moment.
// Kinds: damaged (not an Ed25519 key), config (others can read it), permission, no_space, io.
Result<digest::PrivateKey> load_or_make_key(sys::FileSystem& fs, const std::string& path);

std::string public_key_path(const std::string& key_path);

}  // namespace mc::server
