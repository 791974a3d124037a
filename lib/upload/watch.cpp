#include "upload/watch.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>

#include "wire/names.hpp"

namespace mc::upload {

Watch::Watch() : fd_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {}

void Watch::add(const std::string& directory) {
  if (!fd_.valid()) return;
  const int id = ::inotify_add_watch(fd_.get(), directory.c_str(), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
  if (id >= 0) directories_[id] = directory;
}

void Watch::add_manifest(const std::string& directory) {
  if (!fd_.valid()) return;
  const std::string path = directory + "/" + wire::kManifestName;
  const int id = ::inotify_add_watch(fd_.get(), path.c_str(), IN_MODIFY | IN_CLOSE_WRITE);
  if (id >= 0) manifests_[id] = directory;
}

void Watch::drop_manifest(const std::string& directory) {
  std::erase_if(manifests_, [&](const auto& entry) {
    if (entry.second != directory) return false;
    (void)::inotify_rm_watch(fd_.get(), entry.first);
    return true;
  });
}

Watch::Changes Watch::take() {
  Changes changes;
  alignas(inotify_event) std::array<char, 16 * 1024> buffer{};
  for (;;) {
    const ssize_t n = fd_.valid() ? ::read(fd_.get(), buffer.data(), buffer.size()) : 0;
    if (n <= 0) return changes;
    for (std::size_t at = 0; at < static_cast<std::size_t>(n);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* const name = event.len > 0 ? buffer.data() + at + sizeof event : "";
      at += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) {
        changes.new_directories = true;
        for (const auto& [id, directory] : manifests_) changes.manifests.insert(directory);
      } else if ((event.mask & IN_IGNORED) != 0) {
        directories_.erase(event.wd);
        manifests_.erase(event.wd);
      } else if (const auto grown = manifests_.find(event.wd); grown != manifests_.end()) {
        changes.manifests.insert(grown->second);
      } else if (const auto found = directories_.find(event.wd); found == directories_.end()) {
        continue;
      } else if (std::string_view(name) == wire::kManifestName) {
        changes.manifests.insert(found->second);
        add_manifest(found->second);  // the name may stand for another file than before
      } else if ((event.mask & IN_ISDIR) != 0) {
        changes.new_directories = true;
      }
    }
  }
}

}  // namespace mc::upload
