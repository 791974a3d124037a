#include "upload/uploader.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <memory>
#include <set>

#include "base/clock.hpp"
#include "upload/link.hpp"
#include "upload/recording_upload.hpp"
#include "upload/roster.hpp"
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
        roster_(fs, root, options.follow),
        pool_(fs, options.client, options.parallel) {}

  Result<UploadSummary> run() {
    MC_TRY(pool_.start());
    for (;;) {
      MC_TRY(search());
      take_up();
      look_at_manifests();
      if (advance()) continue;  // there is room for others
      if (is_over()) return summary();
      hand_out();
      MC_TRY_ASSIGN(const auto why, wait());
      if (why) return stop(*why);
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

  bool follows() const { return options_.follow == Follow::yes; }

  // ---- which recordings -------------------------------------------------------------------------------------------

  Status search() {
    if (now_ns() < next_search_ns_) return {};
    MC_TRY_ASSIGN(const auto unreadable, roster_.search(watch_));
    next_search_ns_ = follows() ? now_ns() + (roster_.is_empty() ? kLookNs : kSearchNs) : kNever;
    for (const Roster::Unreadable& one : unreadable) tell_failure(one.directory, one.error);
    if (roster_.is_empty() && !std::exchange(said_waiting_, true)) {
      log_(LogLevel::info, fmt::format("waiting for a recording in '{}'", root_));
    }
    may_take_up_ = true;
    return {};
  }

  // Open ones all at once, for each is somebody who records; of closed ones, a backlog, only a few.
  void take_up() {
    if (!std::exchange(may_take_up_, false)) return;
    auto closed = static_cast<std::size_t>(
        std::ranges::count_if(active_, [](const Active& active) { return active.upload->is_closed(); }));
    for (const std::string& directory : roster_.to_take_up()) {
      const bool is_closed = roster_.looks_closed(directory);
      if (is_closed && closed >= options_.parallel) continue;
      if (take_up(directory) && is_closed) ++closed;
    }
    if (!std::exchange(is_ready_, true)) observer_.ready();
  }

  bool take_up(const std::string& directory) {
    const auto old_receipt = roster_.is_single() ? OldReceipt::audited : OldReceipt::believed;
    auto upload = std::make_unique<RecordingUpload>(fs_, directory, ++last_id_, options_, old_receipt, link_, observer_,
                                                    log_of(directory));
    auto opened = upload->open();
    if (opened && !*opened && follows()) return false;
    if (opened && !*opened) {
      opened =
          fail(ErrorKind::damaged, fmt::format("the manifest of '{}' does not say which recording it is", directory));
    }
    if (!opened) {
      let_go(directory, upload->manifest_info(), fail(std::move(opened).error()));
      return false;
    }
    roster_.take_up(directory);
    watch_.add_manifest(directory);
    active_.push_back({std::move(upload), now_ns() + kLookNs, 0});
    return true;
  }

  Log log_of(const std::string& directory) const {
    if (roster_.is_single()) return log_;
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

  bool is_abandoned(Active& active) const {
    if (roster_.is_single() || !follows() || !active.upload->is_idle()) {
      active.idle_since_ns = 0;
      return false;
    }
    if (active.idle_since_ns == 0) active.idle_since_ns = now_ns();
    return now_ns() - active.idle_since_ns >= options_.let_go_ns;
  }

  void let_go_of_open(std::size_t i) {
    const std::string directory = active_[i].upload->which().directory;
    log_(LogLevel::debug, fmt::format("'{}': nothing happens; waiting for its manifest to grow", directory));
    (void)roster_.let_go(directory, active_[i].upload->manifest_info(), Outcome::still_open, std::nullopt,
                         std::nullopt);
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

  void let_go(const std::string& directory, const sys::FileInfo& manifest, const Result<UploadEnd>& end) {
    if (end) {
      const Outcome outcome = *end == UploadEnd::synced ? Outcome::synced : Outcome::still_open;
      if (outcome == Outcome::still_open)
        log_(LogLevel::warning, fmt::format("'{}' is still open: not synced", directory));
      (void)roster_.let_go(directory, manifest, outcome, std::nullopt, std::nullopt);
      return;
    }
    const Error& error = end.error();
    const bool is_unlucky =
        error.kind == ErrorKind::no_space || error.kind == ErrorKind::io || error.kind == ErrorKind::unavailable;
    const std::int64_t again_ns = now_ns() + (is_unlucky ? kTryUnluckyNs : kTryFailedNs);
    if (roster_.let_go(directory, manifest, Outcome::failed, error, again_ns)) tell_failure(directory, error);
  }

  void tell_failure(const std::string& directory, const Error& error) {
    if (!first_error_) first_error_ = error;
    if (!roster_.is_single()) log_(LogLevel::error, fmt::format("'{}': {}", directory, error.message));
    observer_.failed(directory, error);
  }

  // In turns, so that nobody waits for a long recording to end.
  void hand_out() {
    for (std::size_t tried = 0; tried < active_.size() && in_flight_ < options_.parallel;) {
      const Allowed allowed = link_.takes_more(now_ns()) ? Allowed::requests : Allowed::reading;
      auto job = active_[turn_++ % active_.size()].upload->next_job(allowed);
      if (!job) {
        ++tried;
        continue;
      }
      tried = 0;
      ++in_flight_;
      if (is_request(*job)) link_.request_left();
      pool_.submit(std::move(*job));
    }
  }

  void settle(Done& done) {
    --in_flight_;
    if (is_request(done.job)) link_.request_ended();
    const auto found =
        std::ranges::find_if(active_, [&](const Active& active) { return active.upload->id() == done.job.owner; });
    if (found == active_.end()) return;  // it came to an end with this on its way
    if (const Status status = found->upload->settle(done); !status) {
      end(static_cast<std::size_t>(found - active_.begin()), fail(status.error()));
    }
  }

  static bool is_request(const Job& job) { return job.task != Task::read; }

  // ---- the end ----------------------------------------------------------------------------------------------------

  bool is_over() const {
    if (!active_.empty() || !roster_.to_take_up().empty()) return false;
    return !follows() || (roster_.is_single() && !roster_.is_empty());
  }

  UploadSummary summary() const {
    UploadSummary all;
    all.recordings = roster_.size();
    all.synced = roster_.count(Outcome::synced);
    for (const Active& active : active_) all.synced += active.upload->is_synced() ? 1 : 0;
    all.still_open = roster_.count(Outcome::still_open);
    all.failed = roster_.count(Outcome::failed);
    all.first_error = first_error_;
    return all;
  }

  enum class Why : std::uint8_t { stopped, deadline };

  // A spool that is followed has no other end. What has appeared meanwhile counts.
  Result<UploadSummary> stop(Why why) {
    if (follows()) {
      next_search_ns_ = 0;
      MC_TRY(search());
    }
    UploadSummary all = summary();
    const bool is_followed_spool = follows() && roster_.is_spool();
    if (all.synced == all.recordings && (is_followed_spool || (why == Why::deadline && !roster_.is_empty()))) {
      all.first_error.reset();  // of an earlier try
      return all;
    }
    std::string text = why == Why::stopped ? "stopped" : "the deadline is over";
    text += roster_.is_single() || all.recordings == 0
                ? " before the recording was synced"
                : fmt::format(" with {} of {} recordings synced", all.synced, all.recordings);
    if (link_.is_down()) text += ": " + link_.reason();
    return fail(ErrorKind::unavailable, text, why == Why::stopped && !is_followed_spool ? EINTR : 0);
  }

  // ---- waiting ----------------------------------------------------------------------------------------------------

  Result<std::optional<Why>> wait() {
    std::int64_t until = now_ns() + kLookNs;
    if (link_.opens_ns() > now_ns()) until = std::min(until, link_.opens_ns());
    if (options_.deadline_ns) until = std::min(until, *options_.deadline_ns);
    if (may_take_up_) until = 0;
    const std::int64_t left_ms = (until - now_ns() + 999'999) / 1'000'000;
    std::array<pollfd, 3> p{pollfd{options_.stop_fd, POLLIN, 0}, pollfd{pool_.ready_fd(), POLLIN, 0},
                            pollfd{watch_.fd(), POLLIN, 0}};
    if (::poll(p.data(), p.size(), static_cast<int>(std::max<std::int64_t>(left_ms, 0))) < 0 && errno != EINTR) {
      return fail(sys::errno_error(errno, "cannot poll"));
    }
    if (p[0].revents != 0) return Why::stopped;
    if (p[2].revents != 0) take_changes();
    if (options_.deadline_ns && now_ns() >= *options_.deadline_ns) return Why::deadline;
    return std::nullopt;
  }

  void take_changes() {
    Watch::Changes changes = watch_.take();
    if (changes.new_directories) next_search_ns_ = 0;
    for (const std::string& directory : changes.manifests) {
      if (!roster_.knows(directory)) next_search_ns_ = 0;
      if (roster_.look_again(directory)) may_take_up_ = true;
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
  Roster roster_;

  std::vector<Active> active_;
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
  std::optional<Error> first_error_;

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
