// HMAC-SHA-256 (RFC 2104) by OpenSSL, and the comparison that goes with it.
#pragma once

#include "base/bytes.hpp"
#include "digest/sha256.hpp"

namespace mc::digest {

Sha256Value hmac_sha256(ByteView key, ByteView message);

// Are they the same? The time it takes depends on the lengths alone, so that it tells nothing of a secret.
bool equal_in_constant_time(ByteView a, ByteView b);

}  // namespace mc::digest
