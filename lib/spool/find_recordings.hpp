// Which recordings a directory is or holds.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sys/file_system.hpp"

namespace mc::spool {

// `directory` itself when it has a manifest; else every directory with one that lies up to three levels below (a spool
// root is SESSION/TAKE/GUEST), in the order of their names. Names that begin with '.' are passed over.
// Kind not_found: there is no such directory, or no recording in it.
Result<std::vector<std::string>> find_recordings(sys::FileSystem& fs, const std::string& directory);
// The same, for whoever looks again and again: `looking_into` is called with each directory before it is looked
// into, so that nothing can appear in it unseen. None at all is no error, nor is a directory that cannot be read.
std::vector<std::string> find_recordings(sys::FileSystem& fs, const std::string& directory,
                                         const std::function<void(const std::string&)>& looking_into);

}  // namespace mc::spool
