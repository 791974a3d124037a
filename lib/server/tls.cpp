#include "server/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <boost/asio/ssl/error.hpp>
#include <cerrno>
#include <cstring>

#include "sys/private_file.hpp"

namespace mc::server {
namespace {

constexpr unsigned char kProtocols[] = "\x08http/1.1";

int select_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                    unsigned int in_size, void*) {
  unsigned char* chosen = nullptr;
  if (::SSL_select_next_proto(&chosen, out_size, kProtocols, sizeof kProtocols - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// Never a question on a terminal: a key under a passphrase cannot be used.
int no_passphrase(char*, int, int, void*) { return -1; }

std::string openssl_reason() {
  const unsigned long code = ::ERR_peek_last_error();
  ::ERR_clear_error();
  const char* text = code == 0 ? nullptr : ::ERR_reason_error_string(code);
  return text == nullptr ? "it cannot be read" : text;
}

std::string signature_of(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return "absent";
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) + ":" + std::to_string(st.st_size) + ":" +
         std::to_string(st.st_mtim.tv_sec) + "." + std::to_string(st.st_mtim.tv_nsec) + ":" +
         std::to_string(st.st_mode);
}

Status check_readable(const std::string& what, const std::string& path, bool is_secret) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    const int error = errno;
    return fail(ErrorKind::config, "cannot use the TLS " + what + " '" + path + "': " + std::strerror(error), error);
  }
  if (is_secret && sys::others_can_read(path)) return fail(sys::readable_by_others("the TLS key '" + path + "'"));
  return {};
}

}  // namespace

Result<std::unique_ptr<Tls>> Tls::load(const TlsFiles& files, Log log) {
  std::unique_ptr<Tls> tls(new Tls(files, std::move(log)));
  tls->seen_ = tls->signature();
  MC_TRY_ASSIGN(tls->context_, tls->read());
  return tls;
}

std::string Tls::signature() const { return signature_of(files_.certificate) + " " + signature_of(files_.key); }

Tls::Context Tls::context() {
  const std::lock_guard lock(mutex_);
  std::string now = signature();
  if (now == seen_) return context_;
  seen_ = std::move(now);
  auto renewed = read();
  if (renewed) {
    context_ = std::move(*renewed);
    log_(LogLevel::info, "the TLS certificate was renewed");
  } else {
    log_(LogLevel::warning, renewed.error().message + "; the certificate that was loaded before is used");
  }
  return context_;
}

Result<Tls::Context> Tls::read() const {
  MC_TRY(check_readable("certificate", files_.certificate, false));
  MC_TRY(check_readable("key", files_.key, true));
  ::ERR_clear_error();
  Context context;
  try {
    context = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server);
  } catch (const std::exception& e) {
    return fail(ErrorKind::io, std::string("cannot set TLS up: ") + e.what());
  }
  SSL_CTX* native = context->native_handle();
  ::SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  ::SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  ::SSL_CTX_set_alpn_select_cb(native, select_protocol, nullptr);
  ::SSL_CTX_set_default_passwd_cb(native, no_passphrase);
  if (::SSL_CTX_use_certificate_chain_file(native, files_.certificate.c_str()) != 1) {
    return fail(ErrorKind::config, "cannot use the TLS certificate '" + files_.certificate + "': " + openssl_reason());
  }
  if (::SSL_CTX_use_PrivateKey_file(native, files_.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      ::SSL_CTX_check_private_key(native) != 1) {
    return fail(ErrorKind::config, "cannot use the TLS key '" + files_.key + "': " + openssl_reason());
  }
  return context;
}

bool is_plain_http(const boost::system::error_code& ec) {
  return ec.category() == boost::asio::error::get_ssl_category() &&
         ERR_GET_REASON(static_cast<unsigned long>(ec.value())) == SSL_R_HTTP_REQUEST;
}

}  // namespace mc::server
