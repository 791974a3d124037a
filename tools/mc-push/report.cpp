#include "mc-push/report.hpp"

#include <fmt/format.h>

namespace mc::tool_push {

void Report::keep(Status status) {
  if (status_ && !status) status_ = std::move(status);
}

void Report::ready() {
  if (std::exchange(is_ready_, true)) return;
  keep(sys::notify_ready(in_.notify_fd(), directory_));
}

void Report::started(const std::string& recording_id, const wire::RecordingPath& path) {
  path_ = path.text();
  began_ = std::chrono::steady_clock::now();
  keep(in_.event("started", {{"directory", directory_}, {"recording", recording_id}, {"path", path_}}));
}

void Report::uploaded(const std::string& name, std::uint64_t bytes, const std::string& sha256) {
  keep(in_.event("uploaded", {{"name", name}, {"bytes", bytes}, {"sha256", sha256}}));
}

void Report::waiting(const std::string& reason, double seconds) {
  line_.clear();
  keep(in_.event("waiting", {{"reason", reason}, {"seconds", seconds}}));
}

void Report::alarm(const std::string& reason) {
  line_.clear();
  keep(in_.event("alarm", {{"reason", reason}}));
}

void Report::refused_by_audit(const std::vector<wire::AuditFault>& faults) {
  json::array list;
  for (const wire::AuditFault& fault : faults) list.push_back({{"name", fault.name}, {"problem", fault.problem}});
  keep(in_.event("nack", {{"faults", std::move(list)}}));
}

void Report::synced(const std::string& receipt_name, const upload::UploadProgress& progress) {
  line_.clear();
  keep(in_.event("synced", {{"directory", directory_},
                            {"receipt", receipt_name},
                            {"chunks", progress.chunks_known},
                            {"bytes", progress.bytes_known},
                            {"bytes_moved", progress.bytes_moved}}));
  if (in_.json() || in_.quiet()) return;
  keep(in_.print(fmt::format("{}: synced: {} chunks, {}, {}\n", directory_, progress.chunks_known,
                             cli::human_bytes(progress.bytes_known), receipt_name)));
}

void Report::progress(const upload::UploadProgress& progress) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began_;
  const double rate = elapsed.count() > 0 ? static_cast<double>(progress.bytes_moved) / elapsed.count() : 0;
  line_.show(fmt::format("{}  {}/{}{} chunks  {}/{}  {}/s  {:.0f} s behind", path_, progress.chunks_sent,
                         progress.chunks_known, progress.closed ? "" : "+", cli::human_bytes(progress.bytes_sent),
                         cli::human_bytes(progress.bytes_known), cli::human_bytes(static_cast<std::uint64_t>(rate)),
                         progress.lag_s));
}

}  // namespace mc::tool_push
