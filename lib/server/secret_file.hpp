// The file that tokens are signed with, and that says which of them are revoked (mc-serve(1), "Tokens"). Text:
//
//   <the secret: 32 to 1024 printable ASCII characters without blanks>
//   min-epoch 3                  tokens of an earlier epoch are revoked
//   min-epoch 7 studio-a         the same for one session; the larger one counts
//
// Empty lines and lines that begin with '#' do not count. The secret's characters themselves are the key of HS256, so
// that any JWT library makes the same tokens from it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "sys/file_system.hpp"

namespace mc::server {

struct Secret {
  std::string key;
  std::uint64_t min_epoch = 0;
  std::map<std::string, std::uint64_t> min_epoch_of_session;

  // `session` empty: of tokens for no session in particular.
  std::uint64_t min_epoch_for(const std::string& session) const;
};

enum class SecretMode : std::uint8_t {
  owner_only,  // must not be readable by group or others
  as_given,    // of the service manager, which saw to that
};

// No message contains any of the text. Kind: config.
Result<Secret> parse_secret(std::string_view text);
// Kinds: config (also: others can read it), not_found, permission, io.
Result<Secret> load_secret(sys::FileSystem& fs, const std::string& path, SecretMode mode);

// What changes when the file may have: inode, ctime and size, of what a link leads to. Empty: it is gone. Not settled:
// so young that a further change need not show.
struct SecretVersion {
  std::string token;
  bool settled = false;
};
SecretVersion secret_version(const std::string& path);

// A new random secret in a file of mode 0600 that was not there before, durable when it returns. Sets the umask for a
// moment: call it before threads start. Kinds: no_space (there is one already, or it cannot be made), permission, io.
Status make_secret(sys::FileSystem& fs, const std::string& path);

}  // namespace mc::server
