#include "mc-push/report.hpp"

#include <fmt/format.h>

#include "sys/service_manager.hpp"

namespace mc::tool_push {

void Report::keep(Status status) {
  if (status_ && !status) status_ = std::move(status);
}

void Report::ready() { keep(sys::notify_ready(in_.notify_fd(), directory_)); }

void Report::event(std::string_view name, const upload::Which& which, json::object fields) {
  fields["directory"] = which.directory;
  fields["path"] = which.path.text();
  keep(in_.event(name, std::move(fields)));
}

void Report::started(const upload::Which& which) {
  path_ = which.path.text();
  event("started", which, {{"recording", which.recording_id}});
}

void Report::uploaded(const upload::Which& which, const std::string& name, std::uint64_t bytes,
                      const std::string& sha256) {
  event("uploaded", which, {{"name", name}, {"bytes", bytes}, {"sha256", sha256}});
}

void Report::refused_by_audit(const upload::Which& which, const std::vector<wire::AuditFault>& faults) {
  json::array list;
  for (const wire::AuditFault& fault : faults) list.push_back({{"name", fault.name}, {"problem", fault.problem}});
  event("nack", which, {{"faults", std::move(list)}});
}

void Report::synced(const upload::Which& which, const std::string& receipt_name,
                    const upload::UploadProgress& progress) {
  line_.clear();
  event("synced", which,
        {{"receipt", receipt_name},
         {"chunks", progress.chunks_known},
         {"bytes", progress.bytes_known},
         {"bytes_moved", progress.bytes_moved}});
  if (in_.json() || in_.quiet()) return;
  keep(in_.print(fmt::format("{}: synced: {} chunks, {}, {}\n", which.directory, progress.chunks_known,
                             cli::human_bytes(progress.bytes_known), receipt_name)));
}

void Report::damaged(const upload::Which& which, const std::string& name, const std::string& reason) {
  line_.clear();
  event("damaged", which, {{"name", name}, {"reason", reason}});
}

void Report::failed(const std::string& directory, const Error& error) {
  line_.clear();
  keep(in_.event("failed", {{"directory", directory}, {"kind", name(error.kind)}, {"reason", error.message}}));
}

void Report::waiting(const std::string& reason, double seconds) {
  line_.clear();
  keep(in_.event("waiting", {{"reason", reason}, {"seconds", seconds}}));
}

void Report::alarm(const std::string& reason) {
  line_.clear();
  keep(in_.event("alarm", {{"reason", reason}}));
}

void Report::progress(const upload::UploadProgress& all) {
  if (all.recordings == 0) return line_.clear();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began_;
  const double rate = elapsed.count() > 0 ? static_cast<double>(all.bytes_moved) / elapsed.count() : 0;
  line_.show(fmt::format("{}  {}/{}{} chunks  {}/{}  {}/s  {:.0f} s behind",
                         all.recordings == 1 ? path_ : fmt::format("{} recordings", all.recordings), all.chunks_sent,
                         all.chunks_known, all.closed ? "" : "+", cli::human_bytes(all.bytes_sent),
                         cli::human_bytes(all.bytes_known), cli::human_bytes(static_cast<std::uint64_t>(rate)),
                         all.lag_s));
}

}  // namespace mc::tool_push
