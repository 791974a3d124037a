// TLS of the server: a certificate chain and its key, from PEM files that may be renewed while it runs. Private to
// server.cpp and connection.cpp.
//
//   MC_TRY_ASSIGN(auto tls, Tls::load({"chain.pem", "key.pem"}, log));
//   stream over *tls->context();               // for each new connection
//
// TLS 1.2 and newer, with OpenSSL's choice of ciphers; ALPN knows "http/1.1" and refuses a client that offers only
// other protocols (RFC 7301 3.2). Each new connection looks whether the files are still the ones that were loaded
// (inode, size, mtime); when not, they are loaded again. Files that do not fit together are not used: between the
// renewal of the one and of the other the old pair goes on, and the log says so. Connections that are open keep what
// they began with.
//
// Any thread. Kinds: config (not there, not readable, no PEM, the key does not fit, or others may read the key).
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <mutex>

#include "base/log.hpp"
#include "server/server.hpp"

namespace mc::server {

class Tls {
 public:
  using Context = std::shared_ptr<boost::asio::ssl::context>;

  static Result<std::unique_ptr<Tls>> load(const TlsFiles& files, Log log);
  Context context();

 private:
  Tls(TlsFiles files, Log log) : files_(std::move(files)), log_(std::move(log)) {}
  std::string signature() const;  // of the files as they are now
  Result<Context> read() const;

  const TlsFiles files_;
  const Log log_;
  std::mutex mutex_;
  std::string seen_;  // signature of what was loaded, or could not be
  Context context_;
};

// Did the peer speak HTTP without TLS?
bool is_plain_http(const boost::system::error_code& ec);

}  // namespace mc::server
