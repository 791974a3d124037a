// One recording on its way to the server: what is to be sent next, and what the answers mean. It decides; connections,
// waiting and the other recordings are Uploads' (uploader.cpp).
//
//   RecordingUpload upload(…);
//   MC_TRY_ASSIGN(const bool known, upload.open());      // false: the manifest does not say yet which one it is
//   for (;;) {
//     MC_TRY(upload.look());                             // the manifest may have grown
//     MC_TRY_ASSIGN(const auto end, upload.advance());   // … if (end) break;
//     while (auto job = upload.next_job()) …             // as many as one likes
//     MC_TRY(upload.settle(done));                       // one of them, done
//   }
//
// An error from any of them is this recording's end. Kinds: those of uploader.hpp. One thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "spool/manifest_follower.hpp"
#include "upload/file_table.hpp"
#include "upload/link.hpp"
#include "upload/sender_pool.hpp"
#include "upload/uploader.hpp"

namespace mc::upload {

class RecordingUpload {
 public:
  // Borrows everything but the texts. `id` comes back in the jobs.
  RecordingUpload(sys::FileSystem& fs, const std::string& directory, std::uint64_t id, const UploadOptions& options,
                  Link& link, Observer& observer, Log log);

  Result<bool> open();
  Status look();
  Result<std::optional<UploadEnd>> advance();
  std::optional<Job> next_job();
  Status settle(Done& done);

  std::uint64_t id() const { return id_; }
  const Which& which() const { return which_; }
  bool is_closed() const { return manifest().end.has_value(); }
  // Everything listed so far is there: nothing to do until more is recorded.
  bool is_idle() const { return phase_ == Phase::send && !is_closed() && all_settled(); }
  const sys::FileInfo& manifest_info() const { return manifest_info_; }
  UploadProgress progress() const;

 private:
  // What is left to do besides the files, in this order.
  enum class Phase : std::uint8_t { list, send, audit, key, synced };

  const wire::Manifest& manifest() const { return whole_ ? whole_->manifest : follower_->manifest(); }
  bool all_settled() const { return !files_.has_pending() && in_flight_ == 0; }
  bool has_receipt() const;
  Status take_manifest();
  Status sync_manifest();
  Job make_job(Task task);

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
  Status keep(const digest::PublicKey& key);

  sys::FileSystem& fs_;
  const std::uint64_t id_;
  const UploadOptions& options_;
  Link& link_;
  Observer& observer_;
  const Log log_;
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
