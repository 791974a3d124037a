#include "server/metrics.hpp"

namespace mc::server {
namespace {

void head(std::string& out, const char* name, const char* type, const char* help) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n");
  out.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

template <class Number>
void single(std::string& out, const char* name, const char* type, const char* help, Number value) {
  head(out, name, type, help);
  out.append(name).append(" ").append(std::to_string(value)).append("\n");
}

}  // namespace

void Metrics::count_request(int status) {
  if (status >= 0 && static_cast<std::size_t>(status) < requests_by_status.size()) {
    ++requests_by_status[static_cast<std::size_t>(status)];
  }
}

std::string Metrics::text(std::uint64_t files_read_back) const {
  std::string out;
  head(out, "maycast_http_requests_total", "counter", "requests answered, by status code");
  for (std::size_t status = 0; status < requests_by_status.size(); ++status) {
    if (const std::uint64_t n = requests_by_status[status].load(); n > 0) {
      out += "maycast_http_requests_total{code=\"" + std::to_string(status) + "\"} " + std::to_string(n) + "\n";
    }
  }
  single(out, "maycast_received_bytes_total", "counter", "bytes of request bodies", received_bytes.load());
  single(out, "maycast_sent_bytes_total", "counter", "bytes of response bodies", sent_bytes.load());
  single(out, "maycast_open_connections", "gauge", "connections open now", open_connections.load());
  single(out, "maycast_refused_connections_total", "counter", "connections refused for being too many",
         refused_connections.load());
  single(out, "maycast_files_stored_total", "counter", "files made durable", files_stored.load());
  single(out, "maycast_files_read_back_total", "counter", "files hashed from the store", files_read_back);
  single(out, "maycast_uploads_parked_total", "counter", "uploads kept to go on after their connection broke",
         uploads_parked.load());
  single(out, "maycast_audits_total", "counter", "manifests audited", audits.load());
  single(out, "maycast_recordings_synced_total", "counter", "receipts made", recordings_synced.load());
  return out;
}

}  // namespace mc::server
