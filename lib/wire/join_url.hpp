// How a guest gets into a session: a short code, in a URL that may stand in argv (mc-session(7), "Joining").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace mc::wire {

// A join code is 8 of the 32 digits of Crockford's base 32, shown as "7KQF-9T2M". Read as people type it: any case,
// hyphens and spaces anywhere, O for 0, I and L for 1. Nothing: it is none.
std::string format_join_code(std::uint64_t forty_bits);
std::optional<std::string> parse_join_code(std::string_view text);  // in the form that format_join_code gives

// https://host/prefix/join/SESSION/GUEST#code=7KQF-9T2M&key=FINGERPRINT. What stands behind the '#' never goes over the
// wire by itself and is in nobody's access log.
struct JoinUrl {
  std::string base_url;  // "https://host/prefix"
  std::string session, guest;
  std::string code;  // empty where the server asks for no tokens
  std::string key;   // the fingerprint that receipts are checked against; empty: not pinned
  bool operator==(const JoinUrl&) const = default;
};
std::string format_join_url(const JoinUrl& url);
Result<JoinUrl> parse_join_url(std::string_view text);  // kind: usage

}  // namespace mc::wire
