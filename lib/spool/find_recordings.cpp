#include "spool/find_recordings.hpp"

#include "wire/names.hpp"

namespace mc::spool {
namespace {

constexpr int kLevels = 3;

using LookingInto = std::function<void(const std::string&)>;

Status collect(sys::FileSystem& fs, const std::string& directory, int levels, const LookingInto& looking_into,
               std::vector<std::string>& found) {
  if (looking_into) looking_into(directory);
  if (fs.info(sys::join_path(directory, wire::kManifestName))) {
    found.push_back(directory);
    return {};
  }
  if (levels == 0) return {};
  MC_TRY_ASSIGN(const auto entries, fs.list(directory));
  for (const sys::DirectoryEntry& entry : entries) {
    if (entry.type != sys::FileType::directory || entry.name.starts_with('.')) continue;
    const Status status = collect(fs, sys::join_path(directory, entry.name), levels - 1, looking_into, found);
    // Whoever looks again and again is told of the others, and of this one when it can be looked into.
    if (!status && !looking_into) return status;
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> find_recordings(sys::FileSystem& fs, const std::string& directory) {
  std::vector<std::string> found;
  MC_TRY(collect(fs, directory, kLevels, nullptr, found));
  if (found.empty()) return fail(ErrorKind::not_found, "no recording in '" + directory + "'");
  return found;
}

std::vector<std::string> find_recordings(sys::FileSystem& fs, const std::string& directory,
                                         const LookingInto& looking_into) {
  std::vector<std::string> found;
  (void)collect(fs, directory, kLevels, looking_into, found);
  return found;
}

}  // namespace mc::spool
