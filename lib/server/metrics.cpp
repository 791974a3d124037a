#include "server/metrics.hpp"

#include <algorithm>

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

void Metrics::count_put(std::chrono::microseconds duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto bound = std::lower_bound(kPutSeconds.begin(), kPutSeconds.end(), seconds);
  ++puts_by_seconds[static_cast<std::size_t>(bound - kPutSeconds.begin())];
  put_microseconds += static_cast<std::uint64_t>(duration.count());
}

std::string Metrics::text(const Now& now) const {
  std::string out;
  head(out, "maycast_http_requests_total", "counter", "requests answered, by status code");
  for (std::size_t status = 0; status < requests_by_status.size(); ++status) {
    if (const std::uint64_t n = requests_by_status[status].load(); n > 0) {
      out += "maycast_http_requests_total{code=\"" + std::to_string(status) + "\"} " + std::to_string(n) + "\n";
    }
  }
  const char* const put_seconds = "maycast_put_seconds";
  head(out, put_seconds, "histogram", "from the end of a PUT's header to its 201");
  std::uint64_t puts = 0;
  for (std::size_t i = 0; i <= kPutSeconds.size(); ++i) {
    puts += puts_by_seconds[i].load();
    std::string bound = i < kPutSeconds.size() ? std::to_string(kPutSeconds[i]) : "+Inf";
    if (i < kPutSeconds.size()) bound.erase(bound.find_last_not_of('0') + 1);
    if (bound.ends_with('.')) bound.pop_back();
    out.append(put_seconds).append("_bucket{le=\"").append(bound).append("\"} ").append(std::to_string(puts)) += "\n";
  }
  out.append(put_seconds).append("_sum ").append(std::to_string(static_cast<double>(put_microseconds.load()) / 1e6)) +=
      "\n";
  out.append(put_seconds).append("_count ").append(std::to_string(puts)) += "\n";
  single(out, "maycast_received_bytes_total", "counter", "bytes of request bodies", received_bytes.load());
  single(out, "maycast_sent_bytes_total", "counter", "bytes of response bodies", sent_bytes.load());
  single(out, "maycast_open_connections", "gauge", "connections open now", open_connections.load());
  single(out, "maycast_control_connections", "gauge", "of them, control connections of sessions",
         control_connections.load());
  single(out, "maycast_refused_connections_total", "counter", "connections refused for being too many",
         refused_connections.load());
  single(out, "maycast_idle_connections_closed_total", "counter", "idle connections closed to make room for a new one",
         idle_connections_closed.load());
  single(out, "maycast_failed_handshakes_total", "counter", "TLS handshakes that failed", failed_handshakes.load());
  single(out, "maycast_files_stored_total", "counter", "files made durable", files_stored.load());
  single(out, "maycast_files_read_back_total", "counter", "files hashed from the store", now.files_read_back);
  single(out, "maycast_read_backs_waiting", "gauge", "files made durable and not read back yet",
         now.read_backs_waiting);
  single(out, "maycast_uploads_parked_total", "counter", "uploads kept to go on after their connection broke",
         uploads_parked.load());
  single(out, "maycast_parked_uploads", "gauge", "uploads kept now to go on after their connection broke",
         now.parked_uploads);
  single(out, "maycast_parked_bytes", "gauge", "bytes of them in the store", now.parked_bytes);
  if (now.store_free_bytes) {
    single(out, "maycast_store_free_bytes", "gauge", "room that is left in the store", *now.store_free_bytes);
  }
  single(out, "maycast_audits_total", "counter", "manifests audited", audits.load());
  single(out, "maycast_recordings_synced_total", "counter", "receipts made", recordings_synced.load());
  return out;
}

}  // namespace mc::server
