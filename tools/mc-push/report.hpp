// What mc-push says while it works: JSON events, the progress line, readiness.
#pragma once

#include <chrono>
#include <string>

#include "cli/app.hpp"
#include "upload/uploader.hpp"

namespace mc::tool_push {

class Report final : public upload::Observer {
 public:
  explicit Report(const cli::Invocation& in) : in_(in), line_(in) {}

  // The line written to --notify-fd.
  void set_recording(const std::string& directory) { directory_ = directory; }
  // The first failure to say something: a full stdout must not stop an upload, but it must not pass unnoticed either.
  const Status& status() const { return status_; }
  void clear() { line_.clear(); }

  void ready() override;
  void started(const std::string& recording_id, const wire::RecordingPath& path) override;
  void uploaded(const std::string& name, std::uint64_t bytes, const std::string& sha256) override;
  void waiting(const std::string& reason, double seconds) override;
  void alarm(const std::string& reason) override;
  void refused_by_audit(const std::vector<wire::AuditFault>& faults) override;
  void synced(const std::string& receipt_name, const upload::UploadProgress& progress) override;
  void progress(const upload::UploadProgress& progress) override;

 private:
  void keep(Status status);

  const cli::Invocation& in_;
  cli::Progress line_;
  std::string directory_;
  std::string path_;
  bool is_ready_ = false;
  Status status_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace mc::tool_push
