#include "server/listen_address.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/ip/address.hpp>
#include <charconv>

namespace mc::server {

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const auto bad = [&] {
    return fail(Error{ErrorKind::usage, "'" + std::string(text) + "' is not an address to listen on", 0,
                      "write ADDRESS:PORT, for example 127.0.0.1:8420 or [::1]:8420"});
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";

  ListenAddress address;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (port.empty() || error != std::errc{} || end != port.data() + port.size()) return bad();
  boost::system::error_code ec;
  const auto ip = boost::asio::ip::make_address(std::string(host), ec);
  if (ec || ip.is_v6() != bracketed) return bad();
  address.host = host;
  address.is_loopback = ip.is_loopback();
  return address;
}

Result<ListenAddress> address_of(const sys::Fd& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  int listens = 0, kind = 0;
  socklen_t int_size = sizeof(int);
  const bool is_ours = ::getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_size) == 0 &&
                       listens != 0 && ::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &kind, &int_size) == 0 &&
                       kind == SOCK_STREAM &&
                       ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size) == 0 &&
                       (storage.ss_family == AF_INET || storage.ss_family == AF_INET6);
  if (!is_ours) {
    return fail(ErrorKind::config,
                "descriptor " + std::to_string(socket.get()) + " of the service manager is no TCP socket that listens");
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  ListenAddress address;
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    address.port = ntohs(v4.sin_port);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    address.port = ntohs(v6.sin6_port);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  }
  address.host = text.data();
  boost::system::error_code ec;
  address.is_loopback = boost::asio::ip::make_address(address.host, ec).is_loopback();
  return address;
}

std::string base_url(const ListenAddress& address, Scheme scheme) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  return (scheme == Scheme::https ? "https://" : "http://") + (is_v6 ? "[" + address.host + "]" : address.host) + ":" +
         std::to_string(address.port);
}

std::string what_is_missing(const Protection& protection) {
  if (!protection.tls && !protection.secret) return "no TLS and no tokens";
  if (!protection.tls) return "no TLS";
  return protection.secret ? "" : "no tokens";
}

Status check_exposure(const ListenAddress& address, const Protection& protection, Danger danger) {
  const std::string missing = what_is_missing(protection);
  if (address.is_loopback || missing.empty() || danger == Danger::accepted) return {};
  return fail(
      Error{ErrorKind::config,
            "will not listen on '" + base_url(address, Scheme::http).substr(7) + "': " + missing + " configured", 0,
            "listen on 127.0.0.1 behind a proxy, or say --danger-no-tls-no-tokens"});
}

}  // namespace mc::server
