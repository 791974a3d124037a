// Conditional and range requests (RFC 9110 sections 13 and 14) on a representation with a strong entity tag.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/message.hpp"

namespace mc::server {

// The strong entity tag of these bytes: their SHA-256, quoted.
std::string entity_tag(const std::string& sha256_hex);

struct Selection {
  int status = 200;  // 200, 206, 304 or 416
  std::uint64_t first = 0;
  std::uint64_t length = 0;  // of the body; 0 with 304 and 416
};
// What a GET or HEAD of a representation of `size_bytes` with that tag answers. Several ranges are answered with the
// whole, as a server may; a Range that is not understood is ignored.
Selection select(const RequestHeaders& headers, const std::string& etag, std::uint64_t size_bytes);

// The answer with that selection; of 200 and 206 the body is still to be given.
Response selected_response(const Selection& selection, const std::string& etag, std::uint64_t size_bytes,
                           const std::string& content_type);

}  // namespace mc::server
