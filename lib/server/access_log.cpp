#include "server/access_log.hpp"

#include "base/clock.hpp"
#include "base/json.hpp"
#include "wire/names.hpp"

namespace mc::server {
namespace {

constexpr std::size_t kMaxWaiting = 10'000;

}  // namespace

std::string printable_target(std::string target) {
  if (!wire::is_utf8(target)) {
    for (char& c : target) {
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
    }
  }
  return target;
}

std::string format_access_line(const AccessRecord& record, std::int64_t wall_ns) {
  json::object line;
  line["event"] = "request";
  line["time"] = format_utc(wall_ns);
  line["remote"] = record.remote;
  line["method"] = record.method;
  line["target"] = printable_target(record.target);
  line["status"] = record.status;
  line["received_bytes"] = record.received_bytes;
  line["sent_bytes"] = record.sent_bytes;
  line["duration_us"] = record.duration_us;
  return json::to_text(line);
}

AccessLog::AccessLog(Sink sink) : sink_(std::move(sink)), worker_([this] { work(); }) {}

void AccessLog::add(const AccessRecord& record) {
  std::string line = format_access_line(record, system_clock().wall_ns()) + "\n";
  {
    const std::lock_guard lock(mutex_);
    if (lines_.size() >= kMaxWaiting) {
      ++dropped_;
      return;
    }
    lines_.push_back(std::move(line));
  }
  changed_.notify_one();
}

Status AccessLog::finish() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (worker_.joinable()) worker_.join();
  if (!status_) return status_;
  if (dropped_ > 0) return fail(ErrorKind::io, std::to_string(dropped_) + " lines of the access log were dropped");
  return {};
}

void AccessLog::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !lines_.empty(); });
    if (lines_.empty()) return;
    const std::string line = std::move(lines_.front());
    lines_.pop_front();
    if (!status_) continue;  // the sink is broken: its first error is the one to report
    lock.unlock();
    Status written = sink_(line);
    lock.lock();
    if (!written) status_ = std::move(written);
  }
}

}  // namespace mc::server
