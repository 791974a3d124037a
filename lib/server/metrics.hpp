// Counters for GET /metrics (Prometheus text format 0.0.4). Any thread; reading is not a snapshot.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace mc::server {

struct Metrics {
  std::array<std::atomic<std::uint64_t>, 600> requests_by_status{};  // indexed by the status code
  std::atomic<std::uint64_t> received_bytes{0};                      // of request bodies
  std::atomic<std::uint64_t> sent_bytes{0};                          // of response bodies
  std::atomic<std::int64_t> open_connections{0};
  std::atomic<std::uint64_t> refused_connections{0};
  std::atomic<std::uint64_t> files_stored{0};  // answered 201
  std::atomic<std::uint64_t> uploads_parked{0};
  std::atomic<std::uint64_t> audits{0};
  std::atomic<std::uint64_t> recordings_synced{0};  // receipts made by this process

  void count_request(int status);
  std::string text(std::uint64_t files_read_back) const;
};

}  // namespace mc::server
