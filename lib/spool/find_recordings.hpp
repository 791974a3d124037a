// Which recordings a directory is or holds.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "sys/file_system.hpp"

namespace mc::spool {

// `directory` itself when it has a manifest; else every directory with one that lies up to three levels below (a spool
// root is SESSION/TAKE/GUEST), in the order of their names. Names that begin with '.' are passed over.
// Kind not_found: there is no such directory, or no recording in it.
Result<std::vector<std::string>> find_recordings(sys::FileSystem& fs, const std::string& directory);

}  // namespace mc::spool
