// CRC-32C (Castagnoli; RFC 3720 appendix B.4), as used on manifest lines and journal records. It finds torn and
// flipped bytes; it proves nothing against malice, which is what the SHA-256 hashes are for.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace mc {

// `crc` continues an earlier call: crc32c(b, crc32c(a)) == crc32c(a + b).
std::uint32_t crc32c(ByteView bytes, std::uint32_t crc = 0);

}  // namespace mc
