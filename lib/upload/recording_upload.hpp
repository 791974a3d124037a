// One recording on its way to the server: what is to be sent next, and what the answers mean. It decides; connections,
// waiting and the other recordings are Uploads' (uploader.cpp).
//
//   RecordingUpload upload(…);
//   MC_TRY_ASSIGN(const bool known, upload.open());      // false: the manifest does not say yet which one it is
//   for (;;) {
//     MC_TRY(upload.look());                             // the manifest may have grown
//     MC_TRY_ASSIGN(const auto end, upload.advance());   // … if (end) break;
//     while (auto job = upload.next_job(allowed)) …      // as many as one likes
//     MC_TRY(upload.settle(done));                       // one of them, done
//   }
//
// In this order: what the server holds is listed; the files are sent, as long as there are any; the manifest is, and
// its audit asks for files again or gives the receipt; the receipt is kept, and from then on it is Synced; last, what
// this run has not read of the files is read, for a copy here that is not what was recorded should be known while there
// is another one.
//
// An error from any of them is this recording's end. Kinds: those of uploader.hpp. One thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "spool/manifest_follower.hpp"
#include "upload/file_table.hpp"
#include "upload/link.hpp"
#include "upload/local_copy.hpp"
#include "upload/sender_pool.hpp"
#include "upload/uploader.hpp"

namespace mc::upload {

// What a receipt of this server is worth that lies there already.
enum class OldReceipt : std::uint8_t {
  audited,   // the manifest is sent all the same: the audit is the answer of today
  believed,  // Synced; of the files only the sizes are looked at
};

enum class Allowed : std::uint8_t { reading, requests };

class RecordingUpload {
 public:
  // Borrows everything but the texts. `id` comes back in the jobs.
  RecordingUpload(sys::FileSystem& fs, const std::string& directory, std::uint64_t id, const UploadOptions& options,
                  OldReceipt old_receipt, Link& link, Observer& observer, Log log);

  Result<bool> open();
  Status look();
  Result<std::optional<UploadEnd>> advance();
  std::optional<Job> next_job(Allowed allowed);
  Status settle(Done& done);

  std::uint64_t id() const { return id_; }
  const Which& which() const { return which_; }
  bool is_closed() const { return manifest().end.has_value(); }
  // The receipt is on the disk; there may be files left to read.
  bool is_synced() const { return phase_ == Phase::read || phase_ == Phase::end; }
  // Everything listed so far is there: nothing to do until more is recorded.
  bool is_idle() const { return phase_ == Phase::send && !is_closed() && all_settled(); }
  const sys::FileInfo& manifest_info() const { return manifest_info_; }
  UploadProgress progress() const;

 private:
  enum class Phase : std::uint8_t { compare, list, send, audit, key, read, end };

  const wire::Manifest& manifest() const { return whole_ ? whole_->manifest : follower_->manifest(); }
  std::string path_of(std::size_t index) const {
    return sys::join_path(which_.directory, manifest().files[index].name);
  }
  bool all_settled() const { return !files_.has_pending() && in_flight_ == 0; }
  bool has_receipt() const;
  Status take_manifest();
  Status sync_manifest();
  Status compare_receipt(const digest::PublicKey& key);
  Job make_job(Task task);
  Job make_file_job(Task task, std::size_t index);

  void put_back(const Job& job);
  bool put_back_broken(const Done& done);
  Status note_failure(const Done& done);
  Status note_no_entry(const Done& done);
  void note_success(Task task);
  Status note_mismatch(const Done& done);
  Status note_unusable(const Done& done);
  Status note_conflict(const Done& done);
  Status rebind(const Error& taken);
  Status check_answer(Done& done);
  Status accept(const Done& done);
  Status take_listing(const std::string& body);
  Status take_audit(const std::string& body);
  Status send_again(const std::vector<wire::AuditFault>& faults);
  Status keep_with_pinned_key();
  const digest::PublicKey* pinned_key(const std::string& fingerprint) const;  // null: it is none of them
  Status keep(const digest::PublicKey& key);
  void become_synced(const std::string& receipt_name);
  void note_damaged(std::size_t index, const std::string& reason) {
    local_copy_.note_damaged(which_, manifest().files[index].name, reason);
  }

  sys::FileSystem& fs_;
  const std::uint64_t id_;
  const UploadOptions& options_;
  const OldReceipt old_receipt_;
  Link& link_;
  Observer& observer_;
  const Log log_;
  LocalCopy local_copy_;  // Phase::read
  Which which_;

  // The first until the manifest is closed, the second from then on.
  std::optional<spool::ManifestFollower> follower_;
  std::optional<spool::LoadedManifest> whole_;
  sys::FileInfo manifest_info_;
  FileTable files_;
  std::optional<Error> local_fault_;
  std::optional<Error> conflict_;

  std::uint32_t rebinds_ = 0;
  Phase phase_ = Phase::list;
  std::size_t in_flight_ = 0;
  std::uint64_t moved_bytes_ = 0;
  int garbled_ = 0;
  int audits_ = 0;
  int fruitless_audits_ = 0;
  std::size_t last_faults_ = 0;
  int manifest_mismatches_ = 0;
  bool manifest_was_broken_ = false;
  std::uint64_t manifest_held_bytes_ = 0;
  std::string receipt_;
};

}  // namespace mc::upload
