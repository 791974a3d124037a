#include "upload/uploader.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_map>

#include "base/clock.hpp"
#include "spool/recording.hpp"
#include "upload/file_table.hpp"
#include "upload/receipt_file.hpp"
#include "upload/retry_gate.hpp"
#include "upload/sender_pool.hpp"
#include "upload/watch.hpp"

namespace mc::upload {
namespace {

constexpr std::int64_t kRescanNs = 1'000'000'000;
constexpr int kMaxGarbled = 5;          // in a row: then it is no accident of the line
constexpr int kMaxMismatches = 20;      // of one file
constexpr int kMaxFruitlessAudits = 5;  // in a row, without a file less on the list
constexpr std::uint32_t kMaxRebinds = 99;

class Uploader {
 public:
  Uploader(sys::FileSystem& fs, const std::string& directory, const UploadOptions& options, Observer& observer,
           const Log& log)
      : fs_(fs),
        directory_(directory),
        options_(options),
        observer_(observer),
        log_(log),
        watch_(Watch::of(directory)),
        gate_(http::Backoff(options.backoff, options.fraction)),
        pool_(fs, options.client, options.parallel) {}

  Result<UploadEnd> run() {
    MC_TRY(wait_for_recording());
    MC_TRY(pool_.start());
    for (;;) {
      MC_TRY(look_at_manifest());
      MC_TRY_ASSIGN(const auto end, step());
      if (end) return *end;
      MC_TRY(wait());
      while (auto done = pool_.take()) MC_TRY(settle(*done));
      report_progress();
    }
  }

 private:
  // What is left to do besides the files, in this order.
  enum class Phase : std::uint8_t { list, send, audit, key, synced };

  const wire::Manifest& manifest() const { return loaded_.manifest; }

  static std::int64_t now_ns() { return system_clock().monotonic_ns(); }

  // ---- the recording ----------------------------------------------------------------------------------------------

  Status wait_for_recording() {
    bool said = false;
    for (;;) {
      auto loaded = spool::load_manifest(fs_, directory_);
      if (loaded && loaded->manifest.path && wire::is_recording_id(loaded->manifest.recording_id)) {
        loaded_ = std::move(*loaded);
        return begin();
      }
      if (!loaded && loaded.error().kind != ErrorKind::not_found) return fail(std::move(loaded).error());
      if (options_.follow == Follow::no) {
        if (!loaded) return fail(std::move(loaded).error());
        return fail(ErrorKind::damaged,
                    fmt::format("the manifest of '{}' does not say which recording it is", directory_));
      }
      if (loaded && !loaded->manifest.damage.empty()) {
        const auto& first = loaded->manifest.damage.front();
        return fail(
            Error{ErrorKind::damaged,
                  fmt::format("the manifest of '{}' is damaged in line {}: {}", directory_, first.line, first.what), 0,
                  "mc-spool recover puts it right"});
      }
      if (!said) {
        log_(LogLevel::info, fmt::format("waiting for a recording in '{}'", directory_));
        observer_.ready();
      }
      said = true;
      MC_TRY(wait());
      if (watch_.fd() < 0) watch_ = Watch::of(directory_);
    }
  }

  Status begin() {
    remote_ = {options_.base_url, *manifest().path, manifest().recording_id};
    MC_TRY(take_manifest());
    observer_.started(remote_.recording_id, remote_.path);
    observer_.ready();
    // With a receipt at hand the likely answer is "yes": the audit says it in one request. It proves again what the
    // receipt proved once, and finds what the server has lost since.
    if (manifest().end && has_receipt()) phase_ = Phase::audit;
    return {};
  }

  bool has_receipt() const {
    const auto entries = fs_.list(directory_);
    return entries && std::ranges::any_of(*entries, [](const sys::DirectoryEntry& entry) {
             const auto name = wire::parse_file_name(entry.name);
             return name && name->kind == wire::FileKind::receipt;
           });
  }

  // Reads the manifest again when it may have grown. What was committed before must still be there, byte for byte.
  Status look_at_manifest() {
    if (manifest().end || (!manifest_touched_ && now_ns() < next_look_ns_)) return {};
    manifest_touched_ = false;
    next_look_ns_ = now_ns() + kRescanNs;
    const auto info = fs_.info(sys::join_path(directory_, wire::kManifestName));
    if (!info) return fail(Error(info.error()).within("the recording went away"));
    if (info->size_bytes == loaded_.bytes.size() && info->changed_ns == manifest_changed_ns_) return {};
    MC_TRY_ASSIGN(spool::LoadedManifest now, spool::load_manifest(fs_, directory_));
    const ByteView before = ByteView(loaded_.bytes).first(manifest().intact_bytes);
    if (now.bytes.size() < before.size() || !std::ranges::equal(before, ByteView(now.bytes).first(before.size()))) {
      return fail(ErrorKind::damaged,
                  fmt::format("the manifest of '{}' changed where it was already written", directory_));
    }
    manifest_changed_ns_ = info->changed_ns;
    loaded_ = std::move(now);
    return take_manifest();
  }

  Status take_manifest() {
    for (const wire::ManifestDamage& damage : manifest().damage) {
      if (local_fault_) break;
      local_fault_ =
          Error{ErrorKind::damaged,
                fmt::format("the manifest of '{}' is damaged in line {}: {}", directory_, damage.line, damage.what), 0,
                "mc-verify names all that is wrong; what is whole is uploaded all the same"};
      log_(LogLevel::error, local_fault_->message);
    }
    if (manifest().end && manifest().chunk_count() == 0) {
      return fail(ErrorKind::damaged,
                  fmt::format("the recording in '{}' is empty: it was closed without a chunk", directory_));
    }
    if (manifest().end && !loaded_.root_matches && !local_fault_) {
      local_fault_ =
          Error{ErrorKind::damaged,
                fmt::format("the manifest of '{}' is damaged: its root does not match its lines", directory_),
                0,
                {}};
      log_(LogLevel::error, local_fault_->message);
    }
    files_.grow_to(manifest().files.size());
    return manifest().end ? sync_manifest() : Status{};
  }

  // The last line may have been read from the page cache before the recorder made it durable. A server that holds a
  // closed manifest while a power cut leaves the guest with an open one could never be brought to agree with it.
  Status sync_manifest() {
    MC_TRY_ASSIGN(const auto file, fs_.open_read(sys::join_path(directory_, wire::kManifestName)));
    return file->sync_data();
  }

  // ---- what to do next --------------------------------------------------------------------------------------------

  bool all_settled() const { return !files_.has_pending() && in_flight_ == 0; }
  bool gate_is_open() const { return gate_.is_open(now_ns()); }

  // Hands out what can be handed out. An end when there is nothing left to do.
  Result<std::optional<UploadEnd>> step() {
    switch (phase_) {
      case Phase::list: submit_alone(Task::list); break;
      case Phase::send: return send();
      case Phase::audit: submit_alone(Task::manifest); break;
      case Phase::key: submit_alone(Task::key); break;
      case Phase::synced: return UploadEnd::synced;
    }
    return std::nullopt;
  }

  Result<std::optional<UploadEnd>> send() {
    // While the server is not there, one request at a time asks whether it is back.
    const std::size_t limit = gate_.is_down() ? 1 : options_.parallel;
    while (files_.has_pending() && in_flight_ < limit && gate_is_open()) {
      const std::size_t index = files_.take();
      const wire::ManifestFile& file = manifest().files[index];
      Job job = make_job(Task::file);
      job.index = index;
      job.name = file.name;
      job.path = sys::join_path(directory_, file.name);
      job.sha256 = file.sha256;
      job.bytes = file.bytes();
      if (files_.was_broken(index)) job.resume = Resume::ask_first;
      submit(std::move(job));
    }
    if (!all_settled()) return std::nullopt;
    if (!manifest().end) {
      if (options_.follow == Follow::yes) return std::nullopt;
      if (local_fault_) return fail(*local_fault_);
      if (conflict_) return fail(*conflict_);
      return UploadEnd::still_open;
    }
    if (!manifest().damage.empty() || !loaded_.root_matches) return fail(*local_fault_);
    phase_ = Phase::audit;
    return step();
  }

  Job make_job(Task task) const {
    Job job;
    job.task = task;
    job.remote = remote_;
    job.epoch = gate_.epoch();
    return job;
  }

  void submit(Job job) {
    ++in_flight_;
    pool_.submit(std::move(job));
  }

  void submit_alone(Task task) {
    if (in_flight_ > 0 || !gate_is_open()) return;
    Job job = make_job(task);
    if (task == Task::manifest) {
      job.manifest = std::make_shared<const ByteBuffer>(loaded_.bytes);
      if (manifest_was_broken_) job.resume = Resume::ask_first;
    }
    submit(std::move(job));
  }

  // ---- what came of it --------------------------------------------------------------------------------------------

  Status settle(Done& done) {
    --in_flight_;
    const Reply& reply = done.reply;
    const bool about_another_path = done.job.remote.path != remote_.path;
    if (reply.verdict == Verdict::try_again || reply.verdict == Verdict::garbled) {
      if (about_another_path || !reply.broke_off) {
        put_back(done.job);
      } else if (put_back_broken(done)) {
        gate_.got_further();
      }
      return about_another_path ? Status{} : note_failure(done);
    }
    if (about_another_path) {
      put_back(done.job);
      return {};
    }
    if (reply.verdict == Verdict::accepted) return check_answer(done);
    if (reply.verdict == Verdict::no_entry) return note_no_entry(done);
    if (reply.verdict != Verdict::unusable) note_success(done.job.task);
    switch (reply.verdict) {
      case Verdict::mismatch: return note_mismatch(done);
      case Verdict::unusable: return note_unusable(done);
      case Verdict::taken: return rebind(reply.error);
      case Verdict::conflict: return note_conflict(done);
      default: return fail(reply.error);
    }
  }

  void put_back(const Job& job) {
    if (job.task == Task::file) files_.put_back(job.index);
  }

  // Whether the try before this one got it any further.
  bool put_back_broken(const Done& done) {
    if (done.job.task == Task::file) return files_.put_back_broken(done.job.index, done.reply.held_bytes);
    if (done.job.task != Task::manifest) return false;
    manifest_was_broken_ = true;
    return std::exchange(manifest_held_bytes_, done.reply.held_bytes) < done.reply.held_bytes;
  }

  Status note_failure(const Done& done) {
    const Reply& reply = done.reply;
    if (reply.verdict == Verdict::garbled && ++garbled_ > kMaxGarbled) return fail(reply.error);
    const bool was_down = gate_.is_down();
    const auto wait_ms = gate_.failed(done.job.epoch, reply.error.message, reply.retry_after_ms, now_ns());
    if (!wait_ms) return {};
    log_(was_down ? LogLevel::debug : LogLevel::warning, "waiting for the server: " + reply.error.message);
    observer_.waiting(reply.error.message, *wait_ms / 1000.0);
    return {};
  }

  // A recording that goes on must not end for want of a token: somebody will renew the file.
  Status note_no_entry(const Done& done) {
    Error error = done.reply.error;
    const http::Credential* credential = options_.client.credential.get();
    if (credential == nullptr) {
      return fail(std::move(error).with_hint("--token-file names a file with the token for this server"));
    }
    put_back(done.job);
    if (auto fault = credential->fault()) error = std::move(*fault).within(error.message);
    if (alarm_ != error.message) {
      alarm_ = error.message;
      log_(LogLevel::error, error.message + "; the token file is read again until it is right, nothing is lost");
      observer_.alarm(error.message);
    }
    (void)gate_.failed(done.job.epoch, error.message, done.reply.retry_after_ms, now_ns());
    return {};
  }

  void note_success(Task task) {
    if (!alarm_.empty()) log_(LogLevel::info, "the token is accepted again");
    alarm_.clear();
    // An audit with a receipt that proves nothing is no progress, however well it reads: only files are.
    if (task == Task::file) garbled_ = 0;
    if (gate_.succeeded()) log_(LogLevel::info, "the server is there again");
  }

  Status note_mismatch(const Done& done) {
    // The file was right when it was read: the bytes changed on the way, so they are sent again. Not for ever: a server
    // that computes something else would never be satisfied.
    const bool is_file = done.job.task == Task::file;
    const int count = is_file ? files_.count_mismatch(done.job.index) : ++manifest_mismatches_;
    put_back(done.job);
    if (count > kMaxMismatches) return fail(Error(done.reply.error).within("again and again"));
    log_(LogLevel::warning,
         fmt::format("'{}' was damaged on the way; sending it again", is_file ? done.job.name : wire::kManifestName));
    return {};
  }

  Status note_unusable(const Done& done) {
    if (done.job.task != Task::file) return fail(done.reply.error);
    files_.set(done.job.index, FileState::unusable);
    log_(LogLevel::error, fmt::format("'{}' is not uploaded: {}", done.job.name, done.reply.error.message));
    if (!local_fault_) {
      local_fault_ = done.reply.error;
      local_fault_->kind = ErrorKind::damaged;
      local_fault_->hint = "everything else is uploaded; mc-verify names all that is wrong";
    }
    return {};
  }

  // Other bytes under one of our names. Before the audit the server cannot know whose are right; after it, with the
  // manifest in its hands, it can, and then a refusal is final.
  Status note_conflict(const Done& done) {
    if (done.job.task != Task::file || audits_ > 0) return fail(done.reply.error);
    files_.set(done.job.index, FileState::conflict);
    conflict_ = done.reply.error;
    log_(LogLevel::warning, done.reply.error.message);
    return {};
  }

  Status rebind(const Error& taken) {
    ++rebinds_;
    const std::string guest = fmt::format("{}~{}", manifest().path->guest, rebinds_ + 1);
    if (rebinds_ >= kMaxRebinds || !wire::is_name(guest)) return fail(taken);
    log_(LogLevel::warning,
         fmt::format("'{}' belongs to another recording there; uploading as '{}'", remote_.path.text(), guest));
    remote_.path.guest = guest;
    // What is held under the other name is not ours: everything starts anew.
    files_.forget();
    phase_ = Phase::list;
    audits_ = fruitless_audits_ = 0;
    last_faults_ = 0;
    conflict_.reset();
    return {};
  }

  // 200 with something that makes no sense is worth a few more tries (the line may have damaged it), but it is no
  // success.
  Status check_answer(Done& done) {
    Status status = accept(done);
    if (status || status.error().kind != ErrorKind::protocol) {
      note_success(done.job.task);
      return status;
    }
    if (phase_ == Phase::key) phase_ = Phase::audit;
    done.reply.verdict = Verdict::garbled;
    done.reply.error = std::move(status).error();
    return note_failure(done);
  }

  Status accept(const Done& done) {
    switch (done.job.task) {
      case Task::list: return take_listing(done.reply.body);
      case Task::file: {
        files_.set(done.job.index, FileState::held);
        moved_bytes_ += done.job.bytes;
        observer_.uploaded(done.job.name, done.job.bytes, done.job.sha256);
        return {};
      }
      case Task::manifest: return take_audit(done.reply.body);
      case Task::key: {
        const auto key = digest::PublicKey::from_pem(done.reply.body);
        if (!key) return fail(ErrorKind::protocol, "the server's key is none: " + key.error().message);
        log_(LogLevel::debug,
             fmt::format("believing key {} because the server gave it; --key pins one", key->fingerprint()));
        return keep(*key);
      }
    }
    return {};
  }

  Status take_listing(const std::string& body) {
    MC_TRY_ASSIGN(const auto held, parse_listing(body));
    std::unordered_map<std::string_view, const wire::HeldFile*> by_name;
    for (const wire::HeldFile& file : held) by_name.emplace(file.name, &file);
    files_.mark_held([&](std::size_t index) {
      const wire::ManifestFile& file = manifest().files[index];
      const auto found = by_name.find(file.name);
      return found != by_name.end() && *found->second == wire::HeldFile{file.name, file.bytes(), file.sha256};
    });
    phase_ = Phase::send;
    return {};
  }

  Status take_audit(const std::string& body) {
    MC_TRY_ASSIGN(wire::AuditAnswer answer, wire::parse_audit_answer(body));
    ++audits_;
    if (answer.synced) {
      receipt_ = std::move(answer.receipt);
      if (options_.keys.empty()) {
        phase_ = Phase::key;
        return {};
      }
      return keep_with_pinned_key();
    }
    if (!answer.closed) return fail(ErrorKind::protocol, "the server takes the closed manifest for an open one");
    if (answer.faults.empty()) return fail(ErrorKind::refused, "the server gives neither a receipt nor a reason");
    observer_.refused_by_audit(answer.faults);
    log_(LogLevel::debug, fmt::format("the server still needs {} files, first '{}' ({})", answer.faults.size(),
                                      answer.faults[0].name, answer.faults[0].problem));
    fruitless_audits_ = answer.faults.size() < last_faults_ ? 1 : fruitless_audits_ + 1;
    last_faults_ = answer.faults.size();
    return send_again(answer.faults);
  }

  Status send_again(const std::vector<wire::AuditFault>& faults) {
    const wire::AuditFault& first = faults.front();
    if (fruitless_audits_ >= kMaxFruitlessAudits) {
      return fail(ErrorKind::refused, fmt::format("the server asks for {} files again and again, first '{}' ({})",
                                                  faults.size(), first.name, first.problem));
    }
    std::unordered_map<std::string_view, std::size_t> by_name;
    for (std::size_t i = 0; i < files_.size(); ++i) by_name.emplace(manifest().files[i].name, i);
    std::vector<bool> wanted(files_.size());
    bool sendable = false;
    for (const wire::AuditFault& fault : faults) {
      const auto found = by_name.find(fault.name);
      if (found == by_name.end()) {
        if (fault.name == wire::kManifestName) continue;
        return fail(ErrorKind::protocol,
                    fmt::format("the server asks for '{}', which the manifest does not list", fault.name));
      }
      wanted[found->second] = true;
      sendable = sendable || files_.state(found->second) != FileState::unusable;
    }
    // Everything else arrived. What is damaged here can only come from another copy.
    if (!sendable && local_fault_) return fail(*local_fault_);
    files_.send_only(wanted);
    phase_ = Phase::send;
    return {};
  }

  Status keep_with_pinned_key() {
    const auto receipt = wire::parse_receipt(receipt_);
    if (!receipt) return fail(ErrorKind::protocol, "the server's receipt proves nothing: " + receipt.error().message);
    const auto key = std::ranges::find(options_.keys, receipt->key_fingerprint, &digest::PublicKey::fingerprint);
    if (key == options_.keys.end()) {
      return fail(Error{ErrorKind::refused,
                        fmt::format("the receipt is of key {}, which is not pinned", receipt->key_fingerprint), 0,
                        "is that the right server?"});
    }
    return keep(*key);
  }

  Status keep(const digest::PublicKey& key) {
    MC_TRY_ASSIGN(const std::string name, keep_receipt(fs_, directory_, receipt_, remote_.path, loaded_, key));
    files_.send_only(std::vector<bool>(files_.size()));
    phase_ = Phase::synced;
    observer_.synced(name, measure());
    return {};
  }

  // ---- waiting ----------------------------------------------------------------------------------------------------

  Status wait() {
    std::int64_t until = now_ns() + kRescanNs;
    if (!gate_is_open()) until = std::min(until, gate_.opens_ns());
    if (options_.deadline_ns) until = std::min(until, *options_.deadline_ns);
    if (phase_ == Phase::synced) until = 0;
    const std::int64_t left_ms = (until - now_ns() + 999'999) / 1'000'000;
    std::array<pollfd, 3> p{pollfd{options_.stop_fd, POLLIN, 0}, pollfd{pool_.ready_fd(), POLLIN, 0},
                            pollfd{watch_.fd(), POLLIN, 0}};
    if (::poll(p.data(), p.size(), static_cast<int>(std::max<std::int64_t>(left_ms, 0))) < 0 && errno != EINTR) {
      return fail(sys::errno_error(errno, "cannot poll"));
    }
    if (p[0].revents != 0) return fail(ErrorKind::unavailable, "stopped", EINTR);
    if (p[2].revents != 0) {
      watch_.drain();
      manifest_touched_ = true;
    }
    if (options_.deadline_ns && now_ns() >= *options_.deadline_ns && phase_ != Phase::synced) {
      std::string why = "the deadline is over before the recording was synced";
      if (gate_.is_down()) why += ": " + gate_.reason();
      return fail(ErrorKind::unavailable, why);
    }
    return {};
  }

  UploadProgress measure() const {
    UploadProgress progress = files_.measure(manifest());
    progress.bytes_moved = moved_bytes_;
    return progress;
  }

  // At most ten times a second: it looks at every file.
  void report_progress() {
    constexpr std::int64_t kIntervalNs = 100'000'000;
    if (now_ns() < next_report_ns_) return;
    next_report_ns_ = now_ns() + kIntervalNs;
    observer_.progress(measure());
  }

  sys::FileSystem& fs_;
  const std::string& directory_;
  const UploadOptions& options_;
  Observer& observer_;
  const Log& log_;
  Watch watch_;

  spool::LoadedManifest loaded_;
  std::int64_t manifest_changed_ns_ = 0;
  std::int64_t next_look_ns_ = 0;
  bool manifest_touched_ = false;
  FileTable files_;
  std::optional<Error> local_fault_;
  std::optional<Error> conflict_;

  Remote remote_;
  std::uint32_t rebinds_ = 0;
  Phase phase_ = Phase::list;
  std::size_t in_flight_ = 0;
  std::uint64_t moved_bytes_ = 0;
  int audits_ = 0;
  int fruitless_audits_ = 0;
  std::size_t last_faults_ = 0;
  int manifest_mismatches_ = 0;
  bool manifest_was_broken_ = false;
  std::uint64_t manifest_held_bytes_ = 0;
  std::string receipt_;

  RetryGate gate_;
  int garbled_ = 0;
  std::string alarm_;  // what was said last, while it is true
  std::int64_t next_report_ns_ = 0;

  SenderPool pool_;  // last: its threads end first
};

}  // namespace

Result<UploadEnd> upload_recording(sys::FileSystem& fs, const std::string& directory, const UploadOptions& options,
                                   Observer& observer, const Log& log) {
  return Uploader(fs, directory, options, observer, log).run();
}

}  // namespace mc::upload
