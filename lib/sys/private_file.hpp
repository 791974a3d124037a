// Files that nobody but their owner may read: the key that signs receipts, the key of TLS, the secret of tokens.
//
// Making one sets the umask for a moment: call it before threads start.
#pragma once

#include <string>
#include <string_view>

#include "sys/file_system.hpp"

namespace mc::sys {

// Of what a link leads to. False also when it cannot be looked at: whoever opens it will be told why. A credential of
// the service manager may have an access list for the service's user, which shows as rights of the group.
bool others_can_read(const std::string& path);
// The error to give when they can, of kind config; `what` is the subject, like "the key 'x'".
Error readable_by_others(const std::string& what);

// A new file with `text`: staged beside it, synced, and renamed to a name that must not be there (EEXIST); durable when
// it returns. A crash before that leaves the stage, or all of it.
Status publish_new(FileSystem& fs, const std::string& path, std::string_view text);
// The same with mode 0600.
Status publish_new_private(FileSystem& fs, const std::string& path, std::string_view text);

}  // namespace mc::sys
