#include "upload/recording_upload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/clock.hpp"
#include "upload/receipt_file.hpp"

namespace mc::upload {
namespace {

constexpr int kMaxGarbled = 5;          // in a row: then it is no accident of the line
constexpr int kMaxMismatches = 20;      // of one file
constexpr int kMaxFruitlessAudits = 5;  // in a row, without a file less on the list
constexpr std::uint32_t kMaxRebinds = 99;

std::int64_t now_ns() { return system_clock().monotonic_ns(); }

}  // namespace

RecordingUpload::RecordingUpload(sys::FileSystem& fs, const std::string& directory, std::uint64_t id,
                                 const UploadOptions& options, OldReceipt old_receipt, Link& link, Observer& observer,
                                 Log log)
    : fs_(fs),
      id_(id),
      options_(options),
      old_receipt_(old_receipt),
      link_(link),
      observer_(observer),
      log_(std::move(log)),
      local_copy_(observer, log_),
      which_{directory, {}, {}},
      follower_(std::in_place, fs, directory) {}

// ---- the recording ----------------------------------------------------------------------------------------------

Result<bool> RecordingUpload::open() {
  MC_TRY(follower_->look());
  manifest_info_ = follower_->info();
  if (!manifest().path || !wire::is_recording_id(manifest().recording_id)) {
    if (manifest().damage.empty()) return false;
    const wire::ManifestDamage& first = manifest().damage.front();
    return fail(
        Error{ErrorKind::damaged,
              fmt::format("the manifest of '{}' is damaged in line {}: {}", which_.directory, first.line, first.what),
              0, "mc-spool recover puts it right"});
  }
  which_.recording_id = manifest().recording_id;
  which_.path = *manifest().path;
  MC_TRY(take_manifest());
  observer_.started(which_);
  // With a receipt at hand the likely answer is "yes": the audit says it in one request. It proves again what the
  // receipt proved once, and finds what the server has lost since.
  if (is_closed() && has_receipt()) phase_ = old_receipt_ == OldReceipt::audited ? Phase::audit : Phase::compare;
  return true;
}

bool RecordingUpload::has_receipt() const {
  const auto entries = fs_.list(which_.directory);
  return entries && std::ranges::any_of(*entries, [](const sys::DirectoryEntry& entry) {
           const auto name = wire::parse_file_name(entry.name);
           return name && name->kind == wire::FileKind::receipt;
         });
}

Status RecordingUpload::look() {
  if (!follower_) return {};
  auto grew = follower_->look();
  if (!grew && grew.error().kind == ErrorKind::not_found) {
    return fail(std::move(grew).error().within("the recording went away"));
  }
  if (!grew) return fail(std::move(grew).error());
  manifest_info_ = follower_->info();
  return *grew ? take_manifest() : Status{};
}

Status RecordingUpload::take_manifest() {
  for (const wire::ManifestDamage& damage : manifest().damage) {
    if (local_fault_) break;
    local_fault_ =
        Error{ErrorKind::damaged,
              fmt::format("the manifest of '{}' is damaged in line {}: {}", which_.directory, damage.line, damage.what),
              0, "mc-verify names all that is wrong; what is whole is uploaded all the same"};
    log_(LogLevel::error, local_fault_->message);
  }
  if (is_closed() && manifest().chunk_count() == 0) {
    return fail(ErrorKind::damaged,
                fmt::format("the recording in '{}' is empty: it was closed without a chunk", which_.directory));
  }
  if (is_closed()) {
    MC_TRY_ASSIGN(whole_, follower_->load_whole());
    follower_.reset();
    if (!whole_->root_matches && !local_fault_) {
      local_fault_ =
          Error{ErrorKind::damaged,
                fmt::format("the manifest of '{}' is damaged: its root does not match its lines", which_.directory),
                0,
                {}};
      log_(LogLevel::error, local_fault_->message);
    }
  }
  files_.grow_to(manifest());
  return is_closed() ? sync_manifest() : Status{};
}

// The last line may have been read from the page cache before the recorder made it durable, and the name of a manifest
// that was put there anew with it. A server that holds a closed manifest while a power cut leaves the guest with an
// open one could never be brought to agree with it.
Status RecordingUpload::sync_manifest() {
  MC_TRY_ASSIGN(const auto file, fs_.open_read(sys::join_path(which_.directory, wire::kManifestName)));
  MC_TRY(file->sync_data());
  return fs_.sync_directory(which_.directory);
}

UploadProgress RecordingUpload::progress() const {
  UploadProgress progress = files_.progress();
  progress.recordings = 1;
  progress.bytes_moved = moved_bytes_;
  progress.closed = is_closed();
  return progress;
}

// ---- what to do next --------------------------------------------------------------------------------------------

Result<std::optional<UploadEnd>> RecordingUpload::advance() {
  if (phase_ == Phase::compare && link_.key()) MC_TRY(compare_receipt(*link_.key()));
  if (phase_ == Phase::read && !local_copy_.has_unread() && in_flight_ == 0) {
    local_copy_.say();
    phase_ = Phase::end;
  }
  if (phase_ == Phase::end) return UploadEnd::synced;
  if (phase_ != Phase::send || !all_settled()) return std::nullopt;
  if (!is_closed()) {
    if (options_.follow == Follow::yes) return std::nullopt;
    if (local_fault_) return fail(*local_fault_);
    if (conflict_) return fail(*conflict_);
    return UploadEnd::still_open;
  }
  if (!manifest().damage.empty() || !whole_->root_matches) return fail(*local_fault_);
  phase_ = Phase::audit;
  return std::nullopt;
}

// Of several servers on one spool each has a receipt of its own.
Status RecordingUpload::compare_receipt(const digest::PublicKey& key) {
  phase_ = Phase::list;
  if (!options_.keys.empty() && pinned_key(key.fingerprint()) == nullptr) return {};
  MC_TRY_ASSIGN(const auto receipt, find_receipt(fs_, which_.directory, *whole_, key));
  if (!receipt) return {};
  which_.path = receipt->path;
  become_synced(wire::receipt_name(receipt->key_fingerprint));
  local_copy_.look_at_sizes(fs_, which_, manifest());
  return {};
}

std::optional<Job> RecordingUpload::next_job(Allowed allowed) {
  if (phase_ == Phase::read) {
    if (const auto index = local_copy_.next_unread()) return make_file_job(Task::read, *index);
  }
  if (allowed == Allowed::reading || is_synced()) return std::nullopt;
  if (phase_ == Phase::send) {
    if (!files_.has_pending()) return std::nullopt;
    return make_file_job(Task::file, files_.take());
  }
  if (in_flight_ > 0) return std::nullopt;
  if (phase_ == Phase::list) return make_job(Task::list);
  if (phase_ == Phase::key || phase_ == Phase::compare) return make_job(Task::key);
  Job job = make_job(Task::manifest);
  job.manifest = std::make_shared<const ByteBuffer>(whole_->bytes);
  if (manifest_was_broken_) job.resume = Resume::ask_first;
  return job;
}

Job RecordingUpload::make_job(Task task) {
  ++in_flight_;
  Job job;
  job.task = task;
  job.owner = id_;
  job.remote = {options_.base_url, which_.path, which_.recording_id};
  job.epoch = link_.epoch();
  return job;
}

Job RecordingUpload::make_file_job(Task task, std::size_t index) {
  const wire::ManifestFile& file = manifest().files[index];
  Job job = make_job(task);
  job.index = index;
  job.name = file.name;
  job.path = path_of(index);
  job.sha256 = file.sha256;
  job.bytes = file.bytes();
  if (files_.was_broken(index)) job.resume = Resume::ask_first;
  return job;
}

// ---- what came of it --------------------------------------------------------------------------------------------

Status RecordingUpload::settle(Done& done) {
  --in_flight_;
  if (done.job.task == Task::read) {
    if (done.reply.verdict != Verdict::accepted) note_damaged(done.job.index, done.reply.error.message);
    return {};
  }
  const Reply& reply = done.reply;
  const bool about_another_path = done.job.remote.path != which_.path;
  if (reply.verdict == Verdict::try_again || reply.verdict == Verdict::garbled) {
    if (about_another_path || !reply.broke_off) {
      put_back(done.job);
    } else if (put_back_broken(done)) {
      link_.got_further();
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
  if (phase_ == Phase::compare) {
    phase_ = Phase::list;  // a server that does not tell its key can say so about the files
    return {};
  }
  switch (reply.verdict) {
    case Verdict::mismatch: return note_mismatch(done);
    case Verdict::unusable: return note_unusable(done);
    case Verdict::taken: return rebind(reply.error);
    case Verdict::conflict: return note_conflict(done);
    default: return fail(reply.error);
  }
}

void RecordingUpload::put_back(const Job& job) {
  if (job.task == Task::file) files_.put_back(job.index);
}

// Whether the try before this one got it any further.
bool RecordingUpload::put_back_broken(const Done& done) {
  if (done.job.task == Task::file) return files_.put_back_broken(done.job.index, done.reply.held_bytes);
  if (done.job.task != Task::manifest) return false;
  manifest_was_broken_ = true;
  return std::exchange(manifest_held_bytes_, done.reply.held_bytes) < done.reply.held_bytes;
}

Status RecordingUpload::note_failure(const Done& done) {
  const Reply& reply = done.reply;
  if (reply.verdict == Verdict::garbled && ++garbled_ > kMaxGarbled) return fail(reply.error);
  link_.failed(done.job.epoch, reply, now_ns());
  return {};
}

// A recording that goes on must not end for want of a token: somebody will renew the file.
Status RecordingUpload::note_no_entry(const Done& done) {
  Error error = done.reply.error;
  const http::Credential* credential = options_.client.credential.get();
  if (credential == nullptr) {
    return fail(std::move(error).with_hint("--token-file names a file with the token for this server"));
  }
  put_back(done.job);
  if (auto fault = credential->fault()) error = std::move(*fault).within(error.message);
  link_.refused_entry(done.job.epoch, done.reply, error.message, now_ns());
  return {};
}

void RecordingUpload::note_success(Task task) {
  // An audit with a receipt that proves nothing is no progress, however well it reads: only files are.
  if (task == Task::file) garbled_ = 0;
  link_.succeeded();
}

Status RecordingUpload::note_mismatch(const Done& done) {
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

Status RecordingUpload::note_unusable(const Done& done) {
  if (done.job.task != Task::file) return fail(done.reply.error);
  files_.set(done.job.index, FileState::unusable);
  files_.note_read(done.job.index);
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
Status RecordingUpload::note_conflict(const Done& done) {
  if (done.job.task != Task::file || audits_ > 0) return fail(done.reply.error);
  files_.set(done.job.index, FileState::conflict);
  conflict_ = done.reply.error;
  log_(LogLevel::warning, done.reply.error.message);
  return {};
}

Status RecordingUpload::rebind(const Error& taken) {
  ++rebinds_;
  const std::string guest = fmt::format("{}~{}", manifest().path->guest, rebinds_ + 1);
  if (rebinds_ >= kMaxRebinds || !wire::is_name(guest)) return fail(taken);
  log_(LogLevel::warning,
       fmt::format("'{}' belongs to another recording there; uploading as '{}'", which_.path.text(), guest));
  which_.path.guest = guest;
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
Status RecordingUpload::check_answer(Done& done) {
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

Status RecordingUpload::accept(const Done& done) {
  switch (done.job.task) {
    case Task::list: return take_listing(done.reply.body);
    case Task::file: {
      files_.set(done.job.index, FileState::held);
      files_.note_read(done.job.index);
      moved_bytes_ += done.job.bytes;
      observer_.uploaded(which_, done.job.name, done.job.bytes, done.job.sha256);
      return {};
    }
    case Task::manifest: return take_audit(done.reply.body);
    case Task::key: {
      const auto key = digest::PublicKey::from_pem(done.reply.body);
      if (!key) return fail(ErrorKind::protocol, "the server's key is none: " + key.error().message);
      link_.set_key(*key);
      if (phase_ == Phase::compare) return {};
      log_(LogLevel::debug,
           fmt::format("believing key {} because the server gave it; --key pins one", key->fingerprint()));
      return keep(*key);
    }
    case Task::read: break;
  }
  return {};
}

Status RecordingUpload::take_listing(const std::string& body) {
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

Status RecordingUpload::take_audit(const std::string& body) {
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
  observer_.refused_by_audit(which_, answer.faults);
  log_(LogLevel::debug, fmt::format("the server still needs {} files, first '{}' ({})", answer.faults.size(),
                                    answer.faults[0].name, answer.faults[0].problem));
  fruitless_audits_ = answer.faults.size() < last_faults_ ? 1 : fruitless_audits_ + 1;
  last_faults_ = answer.faults.size();
  return send_again(answer.faults);
}

Status RecordingUpload::send_again(const std::vector<wire::AuditFault>& faults) {
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

Status RecordingUpload::keep_with_pinned_key() {
  const auto receipt = wire::parse_receipt(receipt_);
  if (!receipt) return fail(ErrorKind::protocol, "the server's receipt proves nothing: " + receipt.error().message);
  const digest::PublicKey* const key = pinned_key(receipt->key_fingerprint);
  if (key == nullptr) {
    return fail(Error{ErrorKind::refused,
                      fmt::format("the receipt is of key {}, which is not pinned", receipt->key_fingerprint), 0,
                      "is that the right server?"});
  }
  return keep(*key);
}

const digest::PublicKey* RecordingUpload::pinned_key(const std::string& fingerprint) const {
  const auto key = std::ranges::find(options_.keys, fingerprint, &digest::PublicKey::fingerprint);
  return key == options_.keys.end() ? nullptr : &*key;
}

Status RecordingUpload::keep(const digest::PublicKey& key) {
  MC_TRY_ASSIGN(const std::string name, keep_receipt(fs_, which_.directory, receipt_, which_.path, *whole_, key));
  std::vector<std::size_t> unusable;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_.state(i) == FileState::unusable) unusable.push_back(i);
    if (!files_.was_read(i)) local_copy_.read_later(i);
  }
  become_synced(name);
  for (const std::size_t i : unusable) note_damaged(i, fmt::format("'{}' is not what the manifest lists", path_of(i)));
  return {};
}

void RecordingUpload::become_synced(const std::string& receipt_name) {
  files_.send_only(std::vector<bool>(files_.size()));
  phase_ = Phase::read;
  observer_.synced(which_, receipt_name, progress());
}

}  // namespace mc::upload
