// What is known of the server, for all recordings and connections together: whether it can be reached, since when it
// cannot and why, whether it takes the token, which key it signs with. Says each change once, to the log and to the
// observer. One thread.
#pragma once

#include <optional>
#include <string>

#include "base/log.hpp"
#include "digest/ed25519.hpp"
#include "upload/observer.hpp"
#include "upload/remote.hpp"
#include "upload/retry_gate.hpp"

namespace mc::upload {

class Link {
 public:
  Link(http::Backoff backoff, Observer& observer, Log log)
      : gate_(std::move(backoff)), observer_(observer), log_(std::move(log)) {}

  // Whether there may be one request more. While the server is not there, one at a time asks whether it is back.
  bool takes_more(std::int64_t now_ns) const { return gate_.is_open(now_ns) && (!gate_.is_down() || in_flight_ == 0); }
  bool is_down() const { return gate_.is_down(); }
  std::int64_t opens_ns() const { return gate_.opens_ns(); }
  const std::string& reason() const { return gate_.reason(); }
  std::uint32_t epoch() const { return gate_.epoch(); }  // goes with every request

  // Each request, and each end of one, whatever it was; what it means is said by the calls below.
  void request_left() { ++in_flight_; }
  void request_ended() { --in_flight_; }

  void failed(std::uint32_t epoch, const Reply& reply, std::int64_t now_ns);
  // The token is not taken, and `why` says more. Somebody has to renew it; until then this is an outage.
  void refused_entry(std::uint32_t epoch, const Reply& reply, const std::string& why, std::int64_t now_ns);
  // It broke, but something got through each time.
  void got_further() { gate_.got_further(); }
  void succeeded();

  // As the server gave it last.
  const std::optional<digest::PublicKey>& key() const { return key_; }
  void set_key(digest::PublicKey key) { key_ = std::move(key); }

 private:
  RetryGate gate_;
  std::size_t in_flight_ = 0;
  std::string alarm_;  // what was said, as long as it is true
  std::optional<digest::PublicKey> key_;
  Observer& observer_;
  Log log_;
};

}  // namespace mc::upload
