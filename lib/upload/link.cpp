#include "upload/link.hpp"

namespace mc::upload {

void Link::failed(std::uint32_t epoch, const Reply& reply, std::int64_t now_ns) {
  const bool was_down = gate_.is_down();
  const auto wait_ms = gate_.failed(epoch, reply.error.message, reply.retry_after_ms, now_ns);
  if (!wait_ms) return;
  log_(was_down ? LogLevel::debug : LogLevel::warning, "waiting for the server: " + reply.error.message);
  observer_.waiting(reply.error.message, *wait_ms / 1000.0);
}

void Link::refused_entry(std::uint32_t epoch, const Reply& reply, const std::string& why, std::int64_t now_ns) {
  if (alarm_ != why) {
    alarm_ = why;
    log_(LogLevel::error, why + "; the token file is read again until it is right, nothing is lost");
    observer_.alarm(why);
  }
  (void)gate_.failed(epoch, why, reply.retry_after_ms, now_ns);
}

void Link::succeeded() {
  if (!alarm_.empty()) log_(LogLevel::info, "the token is accepted again");
  alarm_.clear();
  if (gate_.succeeded()) log_(LogLevel::info, "the server is there again");
}

}  // namespace mc::upload
