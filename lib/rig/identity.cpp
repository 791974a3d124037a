#include "rig/identity.hpp"

#include <cerrno>

#include "control/session_client.hpp"
#include "digest/ed25519.hpp"
#include "http/answer.hpp"
#include "http/client.hpp"
#include "sys/private_file.hpp"

namespace mc::rig {
namespace {

constexpr char kTokenName[] = "token";
constexpr char kKeyName[] = "key.pem";

control::SessionClientOptions client_options(const IdentityOptions& options) {
  control::SessionClientOptions client;
  client.base_url = options.url.base_url;
  client.http.ca_file = options.ca_file;
  client.http.user_agent = "mc-guest";
  client.http.stop_fd = options.stop_fd;
  client.patience_ms = std::nullopt;
  client.log = options.log;
  return client;
}

// Of two that are made at the same time the first stands; both are good.
Status keep(Status published) {
  if (!published && published.error().sys_errno == EEXIST) return {};
  return published;
}

}  // namespace

Result<Identity> find_identity(sys::FileSystem& fs, const IdentityOptions& options) {
  Identity identity;
  MC_TRY_ASSIGN(auto client, control::SessionClient::open(client_options(options)));
  identity.token_file = options.token_file;
  if (identity.token_file.empty() && !options.url.code.empty()) {
    identity.token_file = sys::join_path(options.directory, kTokenName);
    if (!fs.info(identity.token_file)) {
      MC_TRY_ASSIGN(const auto joined, client.join(options.url.session, options.url.guest, options.url.code));
      MC_TRY(keep(sys::publish_new_private(fs, identity.token_file, joined.token + "\n")));
    }
  }
  if (options.url.key.empty()) return identity;
  identity.key_file = sys::join_path(options.directory, kKeyName);
  if (!fs.info(identity.key_file)) {
    MC_TRY_ASSIGN(const std::string pem, client.public_key(options.url.key));
    MC_TRY(keep(sys::publish_new(fs, identity.key_file, pem)));
  }
  // Whoever kept it: it is the pinned one, or it is not used.
  MC_TRY_ASSIGN(const ByteBuffer pem, sys::read_file(fs, identity.key_file, 16 * 1024));
  const auto key = digest::PublicKey::from_pem(as_text(pem));
  if (!key || key->fingerprint() != options.url.key) {
    return fail(Error{ErrorKind::config, "'" + identity.key_file + "' is not the key of the join URL", 0,
                      "remove the file to ask the server for its key again"});
  }
  return identity;
}

}  // namespace mc::rig
