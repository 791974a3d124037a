#include "upload/uploader.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include "base/clock.hpp"
#include "spool/find_recordings.hpp"
#include "upload/link.hpp"
#include "upload/recording_upload.hpp"
#include "upload/sender_pool.hpp"
#include "upload/watch.hpp"

namespace mc::upload {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kLookNs = kSecondNs;        // at a manifest that nobody said anything about
constexpr std::int64_t kSearchNs = 2 * kSecondNs;  // for recordings in a spool
constexpr std::int64_t kTryFailedNs = 600 * kSecondNs;
constexpr std::int64_t kTryUnluckyNs = 60 * kSecondNs;  // failed for want of room, or by the disk
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kReportNs = 100'000'000;

std::int64_t now_ns() { return system_clock().monotonic_ns(); }

bool is_same(const sys::FileInfo& a, const sys::FileInfo& b) {
  return a.inode == b.inode && a.size_bytes == b.size_bytes && a.changed_ns == b.changed_ns;
}

class Uploads {
 public:
  Uploads(sys::FileSystem& fs, const std::string& root, const UploadOptions& options, Observer& observer,
          const Log& log)
      : fs_(fs),
        root_(root),
        options_(options),
        observer_(observer),
        log_(log),
        link_(http::Backoff(options.backoff, options.fraction), observer, log),
        pool_(fs, options.client, options.parallel) {}

  Result<UploadSummary> run() {
    MC_TRY(pool_.start());
    for (;;) {
      MC_TRY(search());
      take_up();
      look_at_manifests();
      if (advance()) continue;  // there is room for others
      if (is_over()) return summary_;
      hand_out();
      MC_TRY(wait());
      while (auto done = pool_.take()) settle(*done);
      report();
    }
  }

 private:
  struct Active {
    std::unique_ptr<RecordingUpload> upload;
    std::int64_t next_look_ns = 0;
    std::int64_t idle_since_ns = 0;  // 0: is not
  };
  enum class Standing : std::uint8_t { waiting, active, aside };
  struct Known {
    Standing standing = Standing::waiting;
    // Of one that was let go of: taken up again when its manifest is another one, or when it is time.
    sys::FileInfo manifest = {};
    std::optional<std::int64_t> again_ns = std::nullopt;
    std::string last_error = {};
  };

  bool follows() const { return options_.follow == Follow::yes; }
  std::string manifest_path(const std::string& directory) const {
    return sys::join_path(directory, wire::kManifestName);
  }

  // ---- which recordings -------------------------------------------------------------------------------------------

  Status search() {
    if (now_ns() < next_search_ns_) return {};
    next_search_ns_ = follows() ? now_ns() + (known_.empty() ? kLookNs : kSearchNs) : kNever;
    std::vector<std::string> found;
    if (follows()) {
      watch_for_root();
      found = spool::find_recordings(fs_, root_, [this](const std::string& directory) { watch_.add(directory); });
    } else {
      MC_TRY_ASSIGN(found, spool::find_recordings(fs_, root_));
    }
    if (known_.empty() && !found.empty()) is_single_ = found.size() == 1 && found[0] == root_;
    for (const std::string& directory : found) known_.try_emplace(directory);
    const std::set<std::string> there(found.begin(), found.end());
    // What was removed is forgotten. One that is being looked after finds out by itself.
    std::erase_if(known_, [&](const auto& entry) {
      return entry.second.standing != Standing::active && !there.contains(entry.first);
    });
    for (auto& [directory, known] : known_) check_again(directory, known);
    if (found.empty() && !std::exchange(said_waiting_, true)) {
      log_(LogLevel::info, fmt::format("waiting for a recording in '{}'", root_));
    }
    may_take_up_ = true;
    return {};
  }

  // A root that is not there appears in what is there of the directories above it.
  void watch_for_root() {
    if (fs_.info(root_)) return;
    std::string above = sys::parent_path(root_);
    while (!fs_.info(above) && above != sys::parent_path(above)) above = sys::parent_path(above);
    watch_.add(above);
  }

  void check_again(const std::string& directory, Known& known) {
    if (!follows() || is_single_ || known.standing != Standing::aside) return;
    const auto info = fs_.info(manifest_path(directory));
    if (!info) return;
    if (is_same(*info, known.manifest) && (!known.again_ns || now_ns() < *known.again_ns)) return;
    known.standing = Standing::waiting;
    may_take_up_ = true;
  }

  // Open ones all at once, for each is somebody who records; of closed ones, a backlog, only a few.
  void take_up() {
    if (!std::exchange(may_take_up_, false)) return;
    std::size_t closed =
        static_cast<std::size_t>(std::ranges::count_if(active_, [](const Active& a) { return a.upload->is_closed(); }));
    for (auto& [directory, known] : known_) {
      if (known.standing != Standing::waiting) continue;
      const bool is_closed = spool::looks_closed(fs_, directory);
      if (is_closed && closed >= options_.parallel) continue;
      if (take_up(directory, known) && is_closed) ++closed;
    }
    if (!std::exchange(is_ready_, true)) observer_.ready();
  }

  bool take_up(const std::string& directory, Known& known) {
    auto upload =
        std::make_unique<RecordingUpload>(fs_, directory, ++last_id_, options_, link_, observer_, log_of(directory));
    const auto opened = upload->open();
    if (opened && !*opened && follows()) return false;
    if (!known.manifest.inode) ++summary_.recordings;
    if (!opened || !*opened) {
      Error error = opened ? Error{ErrorKind::damaged,
                                   fmt::format("the manifest of '{}' does not say which recording it is", directory),
                                   0,
                                   {}}
                           : opened.error();
      let_go(directory, upload->manifest_info(), fail(std::move(error)));
      return false;
    }
    known.standing = Standing::active;
    watch_.add_manifest(directory);
    active_.push_back({std::move(upload), now_ns() + kLookNs, 0});
    return true;
  }

  Log log_of(const std::string& directory) const {
    if (is_single_) return log_;
    return [log = log_, directory](LogLevel level, std::string_view text) {
      log(level, fmt::format("'{}': {}", directory, text));
    };
  }

  // ---- what they do -----------------------------------------------------------------------------------------------

  void look_at_manifests() {
    for (std::size_t i = 0; i < active_.size();) {
      Active& active = active_[i];
      const bool is_due = now_ns() >= active.next_look_ns;
      if (is_due || touched_.contains(active.upload->which().directory)) {
        active.next_look_ns = now_ns() + kLookNs;
        if (const Status status = active.upload->look(); !status) {
          end(i, fail(status.error()));
          continue;
        }
      }
      ++i;
    }
    touched_.clear();
  }

  // Whether any came to its end.
  bool advance() {
    const std::size_t before = active_.size();
    for (std::size_t i = 0; i < active_.size();) {
      Active& active = active_[i];
      auto now = active.upload->advance();
      if (!now) {
        end(i, fail(std::move(now).error()));
      } else if (*now) {
        end(i, **now);
      } else if (is_abandoned(active)) {
        let_go_of_open(i);
      } else {
        ++i;
      }
    }
    return active_.size() != before;
  }

  bool is_abandoned(Active& active) {
    if (is_single_ || !follows() || !active.upload->is_idle()) {
      active.idle_since_ns = 0;
      return false;
    }
    if (active.idle_since_ns == 0) active.idle_since_ns = now_ns();
    return now_ns() - active.idle_since_ns >= options_.let_go_ns;
  }

  void let_go_of_open(std::size_t i) {
    const Which& which = active_[i].upload->which();
    log_(LogLevel::debug, fmt::format("'{}': nothing happens; waiting for its manifest to grow", which.directory));
    Known& known = known_[which.directory];
    known.standing = Standing::aside;
    known.manifest = active_[i].upload->manifest_info();
    known.again_ns.reset();
    forget(i);
  }

  void end(std::size_t i, Result<UploadEnd> end) {
    // Only what is Synced is not expected to change any more.
    if (end && *end == UploadEnd::synced) watch_.drop_manifest(active_[i].upload->which().directory);
    let_go(active_[i].upload->which().directory, active_[i].upload->manifest_info(), std::move(end));
    forget(i);
  }

  void forget(std::size_t i) {
    moved_bytes_ += active_[i].upload->progress().bytes_moved;
    active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(i));
    may_take_up_ = true;
  }

  void let_go(const std::string& directory, const sys::FileInfo& manifest, Result<UploadEnd> end) {
    Known& known = known_[directory];
    const bool was_failed = !known.last_error.empty();
    known.standing = Standing::aside;
    known.manifest = manifest;
    known.again_ns.reset();
    if (end) {
      summary_.failed -= was_failed ? 1 : 0;
      known.last_error.clear();
      ++(*end == UploadEnd::synced ? summary_.synced : summary_.still_open);
      return;
    }
    const Error& error = end.error();
    const bool is_unlucky =
        error.kind == ErrorKind::no_space || error.kind == ErrorKind::io || error.kind == ErrorKind::unavailable;
    known.again_ns = now_ns() + (is_unlucky ? kTryUnluckyNs : kTryFailedNs);
    if (known.last_error == error.message) return;
    known.last_error = error.message;
    summary_.failed += was_failed ? 0 : 1;
    if (!summary_.first_error) summary_.first_error = error;
    if (!is_single_) log_(LogLevel::error, fmt::format("'{}': {}", directory, error.message));
    observer_.failed(directory, error);
  }

  bool is_over() const {
    if (!active_.empty()) return false;
    const bool has_waiting =
        std::ranges::any_of(known_, [](const auto& entry) { return entry.second.standing == Standing::waiting; });
    if (has_waiting) return false;
    return !follows() || (is_single_ && !known_.empty());
  }

  // In turns, so that nobody waits for a long recording to end.
  void hand_out() {
    // While the server is not there, one request at a time asks whether it is back.
    const std::size_t limit = link_.is_down() ? 1 : options_.parallel;
    for (std::size_t tried = 0; tried < active_.size() && in_flight_ < limit && link_.is_open(now_ns());) {
      auto job = active_[turn_++ % active_.size()].upload->next_job();
      if (!job) {
        ++tried;
        continue;
      }
      tried = 0;
      ++in_flight_;
      pool_.submit(std::move(*job));
    }
  }

  void settle(Done& done) {
    --in_flight_;
    const auto found =
        std::ranges::find_if(active_, [&](const Active& active) { return active.upload->id() == done.job.owner; });
    if (found == active_.end()) return;  // it came to an end with this on its way
    if (const Status status = found->upload->settle(done); !status) {
      end(static_cast<std::size_t>(found - active_.begin()), fail(status.error()));
    }
  }

  // ---- waiting ----------------------------------------------------------------------------------------------------

  Status wait() {
    std::int64_t until = now_ns() + kLookNs;
    if (!link_.is_open(now_ns())) until = std::min(until, link_.opens_ns());
    if (options_.deadline_ns) until = std::min(until, *options_.deadline_ns);
    if (may_take_up_) until = 0;
    const std::int64_t left_ms = (until - now_ns() + 999'999) / 1'000'000;
    std::array<pollfd, 3> p{pollfd{options_.stop_fd, POLLIN, 0}, pollfd{pool_.ready_fd(), POLLIN, 0},
                            pollfd{watch_.fd(), POLLIN, 0}};
    if (::poll(p.data(), p.size(), static_cast<int>(std::max<std::int64_t>(left_ms, 0))) < 0 && errno != EINTR) {
      return fail(sys::errno_error(errno, "cannot poll"));
    }
    if (p[0].revents != 0) return fail(ErrorKind::unavailable, "stopped", EINTR);
    if (p[2].revents != 0) take_changes();
    if (options_.deadline_ns && now_ns() >= *options_.deadline_ns) {
      std::string why = is_single_ ? "the deadline is over before the recording was synced"
                                   : "the deadline is over before everything was synced";
      if (link_.is_down()) why += ": " + link_.reason();
      return fail(ErrorKind::unavailable, why);
    }
    return {};
  }

  void take_changes() {
    Watch::Changes changes = watch_.take();
    if (changes.new_directories) next_search_ns_ = 0;
    for (const std::string& directory : changes.manifests) {
      const auto found = known_.find(directory);
      if (found == known_.end()) {
        next_search_ns_ = 0;
      } else {
        check_again(directory, found->second);
        may_take_up_ = may_take_up_ || found->second.standing == Standing::waiting;
      }
    }
    touched_.merge(std::move(changes.manifests));
  }

  void report() {
    if (now_ns() < next_report_ns_) return;
    next_report_ns_ = now_ns() + kReportNs;
    UploadProgress all;
    all.closed = true;
    for (const Active& active : active_) all += active.upload->progress();
    all.bytes_moved += moved_bytes_;
    observer_.progress(all);
  }

  sys::FileSystem& fs_;
  const std::string root_;
  const UploadOptions& options_;
  Observer& observer_;
  const Log& log_;
  Watch watch_;
  Link link_;

  std::map<std::string, Known> known_;  // by directory
  std::vector<Active> active_;
  bool is_single_ = false;  // the root is a recording itself
  bool said_waiting_ = false;
  bool is_ready_ = false;
  bool may_take_up_ = false;
  std::int64_t next_search_ns_ = 0;
  std::set<std::string> touched_;  // manifests, since they were looked at

  std::uint64_t last_id_ = 0;
  std::size_t in_flight_ = 0;
  std::size_t turn_ = 0;
  std::uint64_t moved_bytes_ = 0;  // for recordings that are no longer active
  std::int64_t next_report_ns_ = 0;
  UploadSummary summary_;

  SenderPool pool_;  // last: its threads end first
};

}  // namespace

Result<UploadSummary> upload(sys::FileSystem& fs, const std::string& directory, const UploadOptions& options,
                             Observer& observer, const Log& log) {
  return Uploads(fs, directory, options, observer, log).run();
}

Result<UploadEnd> upload_recording(sys::FileSystem& fs, const std::string& directory, const UploadOptions& options,
                                   Observer& observer, const Log& log) {
  MC_TRY_ASSIGN(UploadSummary all, upload(fs, directory, options, observer, log));
  if (all.first_error) return fail(std::move(*all.first_error));
  return all.still_open > 0 ? UploadEnd::still_open : UploadEnd::synced;
}

}  // namespace mc::upload
