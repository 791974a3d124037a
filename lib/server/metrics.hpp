// Counters for GET /metrics (Prometheus text format 0.0.4). Any thread; reading is not a snapshot.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace mc::server {

struct Metrics {
  std::array<std::atomic<std::uint64_t>, 600> requests_by_status{};  // indexed by the status code
  std::atomic<std::uint64_t> received_bytes{0};                      // of request bodies
  std::atomic<std::uint64_t> sent_bytes{0};                          // of response bodies
  std::atomic<std::int64_t> open_connections{0};
  std::atomic<std::int64_t> control_connections{0};  // of them, of sessions
  std::atomic<std::uint64_t> refused_connections{0};
  std::atomic<std::uint64_t> idle_connections_closed{0};  // to make room for a new one
  std::atomic<std::uint64_t> failed_handshakes{0};
  std::atomic<std::uint64_t> files_stored{0};  // answered 201
  std::atomic<std::uint64_t> uploads_parked{0};
  std::atomic<std::uint64_t> audits{0};
  std::atomic<std::uint64_t> recordings_synced{0};  // receipts made by this process

  // Seconds from the end of a PUT's header to its 201, counted in the first bound that they do not exceed; the last one
  // has no bound.
  static constexpr std::array<double, 12> kPutSeconds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                      0.1,   0.25,   0.5,   1,    2.5,   10};
  std::array<std::atomic<std::uint64_t>, kPutSeconds.size() + 1> puts_by_seconds{};
  std::atomic<std::uint64_t> put_microseconds{0};  // of all of them

  void count_request(int status);
  void count_put(std::chrono::microseconds duration);
  // What others know at this moment.
  struct Now {
    std::uint64_t files_read_back = 0;
    std::uint64_t read_backs_waiting = 0;
    std::uint64_t parked_uploads = 0, parked_bytes = 0;
    std::optional<std::uint64_t> store_free_bytes;  // nothing: the store does not say
  };
  std::string text(const Now& now) const;
};

}  // namespace mc::server
