// The recordings that a root is or holds, and where each stands: names, never what is in them. It looks for them and
// remembers what became of them; what is to be done is Uploads' (uploader.cpp).
//
//   Roster roster(fs, root, follow);
//   MC_TRY_ASSIGN(const auto unreadable, roster.search(watch));   // now and then, and when a directory appears
//   for (name : roster.to_take_up()) …                            // take_up(), or leave it for the next time
//   roster.let_go(name, …);
//
// One thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sys/file_system.hpp"
#include "upload/uploader.hpp"
#include "upload/watch.hpp"

namespace mc::upload {

enum class Outcome : std::uint8_t { none, synced, still_open, failed };

class Roster {
 public:
  Roster(sys::FileSystem& fs, std::string root, Follow follow) : fs_(fs), root_(std::move(root)), follow_(follow) {}

  // Finds what has appeared, forgets what has gone away (but not what is taken up), and sees who is to be tried again;
  // watches each directory that it looks into. Tells of directories that could not be read, once each. Kinds: not_found
  // (Follow::no: there is nothing), and those of the root, when it is there and cannot be read.
  struct Unreadable {
    std::string directory;
    Error error;
  };
  Result<std::vector<Unreadable>> search(Watch& watch);

  bool is_empty() const { return known_.empty(); }
  // Which of the two the root is shows with the first recording.
  bool is_single() const { return kind_ == Kind::recording; }
  bool is_spool() const;
  std::vector<std::string> to_take_up() const;
  bool knows(const std::string& directory) const { return known_.contains(directory); }

  bool looks_closed(const std::string& directory);
  void take_up(const std::string& directory) { known_[directory].standing = Standing::taken_up; }
  // It is waited for until its manifest is another one than `manifest`, or until `again_ns`. Whether the error is news.
  bool let_go(const std::string& directory, const sys::FileInfo& manifest, Outcome outcome,
              const std::optional<Error>& error, std::optional<std::int64_t> again_ns);
  // Something may have changed in it. Whether it is to be taken up.
  bool look_again(const std::string& directory);

  std::size_t count(Outcome outcome) const;
  std::size_t size() const { return known_.size(); }

 private:
  enum class Kind : std::uint8_t { unknown, recording, spool };
  enum class Standing : std::uint8_t { waiting, taken_up, aside };
  struct Known {
    Standing standing = Standing::waiting;
    Outcome outcome = Outcome::none;
    bool looks_closed = false;
    sys::FileInfo manifest = {};
    std::optional<std::int64_t> again_ns = std::nullopt;
    std::string error = {};
  };
  void forget_all_but(const std::vector<std::string>& found, const std::vector<Unreadable>& unreadable);
  void watch_for_root(Watch& watch) const;
  bool look_again(const std::string& directory, Known& known) const;

  sys::FileSystem& fs_;
  const std::string root_;
  const Follow follow_;
  Kind kind_ = Kind::unknown;
  std::map<std::string, Known> known_;  // by directory
};

}  // namespace mc::upload
