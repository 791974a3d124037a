// What is known of the server, for all recordings and connections together: whether it can be reached, since when it
// cannot and why, and whether it takes the token. Says each change once, to the log and to the observer.
// One thread.
#pragma once

#include <string>

#include "base/log.hpp"
#include "upload/observer.hpp"
#include "upload/remote.hpp"
#include "upload/retry_gate.hpp"

namespace mc::upload {

class Link {
 public:
  Link(http::Backoff backoff, Observer& observer, Log log)
      : gate_(std::move(backoff)), observer_(observer), log_(std::move(log)) {}

  bool is_open(std::int64_t now_ns) const { return gate_.is_open(now_ns); }
  bool is_down() const { return gate_.is_down(); }  // then one request at a time is enough to find out
  std::int64_t opens_ns() const { return gate_.opens_ns(); }
  const std::string& reason() const { return gate_.reason(); }
  std::uint32_t epoch() const { return gate_.epoch(); }  // goes with every request

  void failed(std::uint32_t epoch, const Reply& reply, std::int64_t now_ns);
  // The token is not taken, and `why` says more. Somebody has to renew it; until then this is an outage.
  void refused_entry(std::uint32_t epoch, const Reply& reply, const std::string& why, std::int64_t now_ns);
  // It broke, but something got through each time.
  void got_further() { gate_.got_further(); }
  void succeeded();

 private:
  RetryGate gate_;
  std::string alarm_;  // what was said, as long as it is true
  Observer& observer_;
  Log log_;
};

}  // namespace mc::upload
