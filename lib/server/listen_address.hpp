// Where to listen: "127.0.0.1:8420", "[::1]:0", "localhost:8420". Addresses, not names: a server that listens
// somewhere else than its configuration says is worse than one that does not start.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "sys/fd.hpp"

namespace mc::server {

struct ListenAddress {
  std::string host;        // an IPv4 or IPv6 address without brackets
  std::uint16_t port = 0;  // 0: of the kernel's choice
  bool is_loopback = false;
};
Result<ListenAddress> parse_listen_address(std::string_view text);  // kind: usage
// Where a socket listens that somebody else opened. Kind: config, when it is no TCP socket that listens.
Result<ListenAddress> address_of(const sys::Fd& socket);

enum class Scheme : std::uint8_t { http, https };
// "http://127.0.0.1:8420", "https://[::1]:8420".
std::string base_url(const ListenAddress& address, Scheme scheme);

// What stands between the store and whoever reaches the address.
struct Protection {
  bool tls = false;
  bool secret = false;  // without which no request is served
};
// "no TLS and no tokens", "no TLS", "no tokens"; empty when nothing is missing.
std::string what_is_missing(const Protection& protection);
enum class Danger : std::uint8_t { refused, accepted };
// An address that others reach needs both, unless somebody has said by name that he wants it so. Kind: config.
Status check_exposure(const ListenAddress& address, const Protection& protection, Danger danger);

}  // namespace mc::server
