// Where to listen: "127.0.0.1:8420", "[::1]:0", "localhost:8420". Addresses, not names: a server that listens
// somewhere else than its configuration says is worse than one that does not start.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace mc::server {

struct ListenAddress {
  std::string host;        // an IPv4 or IPv6 address without brackets
  std::uint16_t port = 0;  // 0: of the kernel's choice
  bool is_loopback = false;
};
Result<ListenAddress> parse_listen_address(std::string_view text);  // kind: usage

// "http://127.0.0.1:8420", "http://[::1]:8420".
std::string base_url(const ListenAddress& address);

}  // namespace mc::server
