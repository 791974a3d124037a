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

// The same at any depth, for whoever looks again and again: none at all is no error, and a directory that cannot be
// read is said and passed over.
struct Search {
  std::function<void(const std::string& directory)> enters;  // before it is read: nothing can appear in it unseen
  std::function<void(const std::string& directory, const Error& error)> cannot_read;
};
std::vector<std::string> search_recordings(sys::FileSystem& fs, const std::string& directory, const Search& search);

}  // namespace mc::spool
