#include "upload/roster.hpp"

#include <algorithm>
#include <set>

#include "base/clock.hpp"
#include "spool/find_recordings.hpp"
#include "spool/manifest_follower.hpp"
#include "wire/names.hpp"

namespace mc::upload {
namespace {

bool is_same(const sys::FileInfo& a, const sys::FileInfo& b) {
  return a.inode == b.inode && a.size_bytes == b.size_bytes && a.changed_ns == b.changed_ns;
}

}  // namespace

Result<std::vector<Roster::Unreadable>> Roster::search(Watch& watch) {
  std::vector<Unreadable> unreadable;
  std::optional<Error> root_error;
  spool::Search search;
  search.enters = [&](const std::string& directory) { watch.add(directory); };
  search.cannot_read = [&](const std::string& directory, const Error& error) {
    if (directory == root_) {
      root_error = error;
    } else if (error.kind != ErrorKind::not_found) {
      unreadable.push_back({directory, error});
    }
  };
  if (follow_ == Follow::yes) watch_for_root(watch);
  const std::vector<std::string> found = spool::search_recordings(fs_, root_, search);
  const bool is_to_come = follow_ == Follow::yes && (!root_error || root_error->kind == ErrorKind::not_found);
  if (root_error && !is_to_come && known_.empty()) return fail(std::move(*root_error));
  if (found.empty() && unreadable.empty() && follow_ == Follow::no) {
    return fail(ErrorKind::not_found, "no recording in '" + root_ + "'");
  }
  if (kind_ == Kind::unknown && !found.empty()) {
    kind_ = found.size() == 1 && found[0] == root_ ? Kind::recording : Kind::spool;
  }
  for (const std::string& directory : found) known_.try_emplace(directory);
  if (!root_error) forget_all_but(found, unreadable);
  std::erase_if(unreadable, [&](const Unreadable& one) {
    return !let_go(one.directory, {}, Outcome::failed, one.error, std::nullopt);
  });
  for (auto& [directory, known] : known_) (void)look_again(directory, known);
  return unreadable;
}

// What lies below a directory that cannot be read now has not gone away.
void Roster::forget_all_but(const std::vector<std::string>& found, const std::vector<Unreadable>& unreadable) {
  const std::set<std::string> there(found.begin(), found.end());
  std::erase_if(known_, [&](const auto& entry) {
    const bool is_hidden = std::ranges::any_of(unreadable, [&](const Unreadable& one) {
      return entry.first == one.directory || entry.first.starts_with(one.directory + "/");
    });
    return entry.second.standing != Standing::taken_up && !is_hidden && !there.contains(entry.first);
  });
}

// A root that is not there appears in what is there of the directories above it.
void Roster::watch_for_root(Watch& watch) const {
  if (fs_.info(root_)) return;
  std::string above = sys::parent_path(root_);
  while (!fs_.info(above) && above != sys::parent_path(above)) above = sys::parent_path(above);
  watch.add(above);
}

bool Roster::is_spool() const {
  if (kind_ != Kind::unknown) return kind_ == Kind::spool;
  const auto info = fs_.info(root_);
  return info && info->type == sys::FileType::directory;
}

std::vector<std::string> Roster::to_take_up() const {
  std::vector<std::string> names;
  for (const auto& [directory, known] : known_) {
    if (known.standing == Standing::waiting) names.push_back(directory);
  }
  return names;
}

bool Roster::looks_closed(const std::string& directory) {
  Known& known = known_[directory];
  known.looks_closed = known.looks_closed || spool::looks_closed(fs_, directory);
  return known.looks_closed;
}

bool Roster::let_go(const std::string& directory, const sys::FileInfo& manifest, Outcome outcome,
                    const std::optional<Error>& error, std::optional<std::int64_t> again_ns) {
  Known& known = known_[directory];
  const std::string message = error ? error->message : std::string();
  const bool is_news = known.error != message;
  known.standing = Standing::aside;
  known.outcome = outcome;
  known.looks_closed = false;
  known.manifest = manifest;
  known.again_ns = again_ns;
  known.error = message;
  return is_news;
}

bool Roster::look_again(const std::string& directory) {
  const auto found = known_.find(directory);
  return found != known_.end() && look_again(directory, found->second);
}

bool Roster::look_again(const std::string& directory, Known& known) const {
  if (known.standing == Standing::waiting) return true;
  if (follow_ == Follow::no || kind_ == Kind::recording || known.standing != Standing::aside) return false;
  const auto info = fs_.info(sys::join_path(directory, wire::kManifestName));
  if (!info) return false;
  const bool is_time = known.again_ns && system_clock().monotonic_ns() >= *known.again_ns;
  if (is_same(*info, known.manifest) && !is_time) return false;
  known.standing = Standing::waiting;
  known.outcome = Outcome::none;
  return true;
}

std::size_t Roster::count(Outcome outcome) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(known_, [&](const auto& entry) { return entry.second.outcome == outcome; }));
}

}  // namespace mc::upload
