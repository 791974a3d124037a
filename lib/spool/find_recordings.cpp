#include "spool/find_recordings.hpp"

#include "wire/names.hpp"

namespace mc::spool {
namespace {

constexpr int kLevels = 3;

Status collect(sys::FileSystem& fs, const std::string& directory, int levels, std::vector<std::string>& found) {
  if (fs.info(sys::join_path(directory, wire::kManifestName))) {
    found.push_back(directory);
    return {};
  }
  if (levels == 0) return {};
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  for (const sys::DirectoryEntry& entry : entries) {
    if (entry.type != sys::FileType::directory || entry.name.starts_with('.')) continue;
    MC_TRY(collect(fs, sys::join_path(directory, entry.name), levels - 1, found));
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> find_recordings(sys::FileSystem& fs, const std::string& directory) {
  std::vector<std::string> found;
  MC_TRY(collect(fs, directory, kLevels, found));
  if (found.empty()) return fail(ErrorKind::not_found, "no recording in '" + directory + "'");
  return found;
}

}  // namespace mc::spool
