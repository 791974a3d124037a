#include "spool/find_recordings.hpp"

#include "wire/names.hpp"

namespace mc::spool {
namespace {

constexpr int kLevels = 3;
constexpr int kAnyDepth = 32;  // symbolic links are not followed, but there are other ways to build a circle

// Without cannot_read the first directory that cannot be read ends it.
Status collect(sys::FileSystem& fs, const std::string& directory, int levels, const Search& search,
               std::vector<std::string>& found) {
  if (search.enters) search.enters(directory);
  if (fs.info(sys::join_path(directory, wire::kManifestName))) {
    found.push_back(directory);
    return {};
  }
  if (levels == 0) return {};
  const auto entries = fs.list(directory);
  if (!entries && !search.cannot_read) return fail(entries.error());
  if (!entries) {
    search.cannot_read(directory, entries.error());
    return {};
  }
  for (const sys::DirectoryEntry& entry : *entries) {
    if (entry.type != sys::FileType::directory || entry.name.starts_with('.')) continue;
    MC_TRY(collect(fs, sys::join_path(directory, entry.name), levels - 1, search, found));
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> find_recordings(sys::FileSystem& fs, const std::string& directory) {
  std::vector<std::string> found;
  MC_TRY(collect(fs, directory, kLevels, {}, found));
  if (found.empty()) return fail(ErrorKind::not_found, "no recording in '" + directory + "'");
  return found;
}

std::vector<std::string> search_recordings(sys::FileSystem& fs, const std::string& directory, const Search& search) {
  std::vector<std::string> found;
  (void)collect(fs, directory, kAnyDepth, search, found);
  return found;
}

}  // namespace mc::spool
