// What mc-push says while it works: JSON events, the progress line, readiness.
#pragma once

#include <chrono>
#include <string>

#include "cli/app.hpp"
#include "upload/observer.hpp"

namespace mc::tool_push {

class Report final : public upload::Observer {
 public:
  // `directory` as the person gave it: it is what goes to --notify-fd.
  Report(const cli::Invocation& in, std::string directory) : in_(in), line_(in), directory_(std::move(directory)) {}

  // The first failure to say something: a full stdout must not stop an upload, but it must not pass unnoticed either.
  const Status& status() const { return status_; }
  void clear() { line_.clear(); }

  void ready() override;
  void started(const upload::Which& which) override;
  void uploaded(const upload::Which& which, const std::string& name, std::uint64_t bytes,
                const std::string& sha256) override;
  void refused_by_audit(const upload::Which& which, const std::vector<wire::AuditFault>& faults) override;
  void synced(const upload::Which& which, const std::string& receipt_name,
              const upload::UploadProgress& progress) override;
  void damaged(const upload::Which& which, const std::string& name, const std::string& reason) override;
  void failed(const std::string& directory, const Error& error) override;
  void waiting(const std::string& reason, double seconds) override;
  void alarm(const std::string& reason) override;
  void progress(const upload::UploadProgress& all) override;

 private:
  void event(std::string_view name, const upload::Which& which, json::object fields);
  void keep(Status status);

  const cli::Invocation& in_;
  cli::Progress line_;
  std::string directory_;
  std::string path_;  // of the recording that began last
  Status status_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace mc::tool_push
