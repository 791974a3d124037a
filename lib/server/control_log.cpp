#include "server/control_log.hpp"

#include "base/clock.hpp"

namespace mc::server {
namespace {

constexpr std::size_t kMaxWaiting = 10'000;
constexpr std::uint64_t kLimitedPerMinute = 10;

std::string format_line(std::string_view event, json::object fields) {
  json::object line;
  line["event"] = std::string(event);
  line["time"] = format_utc(system_clock().wall_ns());
  for (auto& [key, value] : fields) line[key] = std::move(value);
  return json::to_text(line) + "\n";
}

}  // namespace

ControlLog::ControlLog(sys::FileSystem& fs, std::string path, Log log)
    : fs_(fs), path_(std::move(path)), log_(std::move(log)), worker_([this] { work(); }) {}

Result<std::unique_ptr<ControlLog>> ControlLog::open(sys::FileSystem& fs, std::string path, Log log) {
  MC_TRY_ASSIGN(const auto file, fs.open_append(path));  // what cannot work at all is said at the start
  MC_TRY(fs.sync_directory(sys::parent_path(path)));
  return std::unique_ptr<ControlLog>(new ControlLog(fs, std::move(path), std::move(log)));
}

ControlLog::~ControlLog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

std::uint64_t ControlLog::lines_lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void ControlLog::enqueue(std::string line) {
  {
    const std::lock_guard lock(mutex_);
    if (lines_.size() >= kMaxWaiting) {
      ++lost_;
      ++lost_untold_;
      return;
    }
    lines_.push_back(std::move(line));
  }
  changed_.notify_one();
}

void ControlLog::add(std::string_view event, json::object fields) { enqueue(format_line(event, std::move(fields))); }

void ControlLog::add_limited(std::string_view event, json::object fields) {
  {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - minute_ >= std::chrono::minutes(1)) {
      minute_ = now;
      in_minute_ = 0;
    }
    if (++in_minute_ > kLimitedPerMinute) {
      ++held_back_;
      return;
    }
    if (held_back_ > 0) fields["more"] = std::exchange(held_back_, 0);
  }
  add(event, std::move(fields));
}

Status ControlLog::add_durably(std::string_view event, json::object fields) {
  return append(format_line(event, std::move(fields)));
}

void ControlLog::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !lines_.empty(); });
    if (lines_.empty()) return;
    const std::deque<std::string> lines = std::exchange(lines_, {});
    std::string text;
    if (lost_untold_ > 0) text = format_line("lines-lost", {{"lines", lost_untold_}});
    for (const std::string& line : lines) text += line;
    const std::uint64_t told = lost_untold_;
    lock.unlock();
    const Status written = append(text);
    if (!written && told == 0) {
      log_(LogLevel::error, "the audit log loses lines: " + written.error().message);
    }
    lock.lock();
    if (written) {
      lost_untold_ -= told;
    } else {
      lost_ += lines.size();
      lost_untold_ += lines.size();
    }
  }
}

Status ControlLog::append(const std::string& lines) {
  const std::lock_guard lock(file_mutex_);
  Status written = write(lines);
  // The length is unknown now, and after a failed sync the kernel's pages are: begin anew.
  if (!written) file_.reset();
  return written;
}

Status ControlLog::write(const std::string& lines) {
  bool is_torn = false;
  if (!file_) {
    MC_TRY_ASSIGN(file_, fs_.open_append(path_));
    MC_TRY_ASSIGN(const std::uint64_t size, file_->size());
    std::uint8_t last = '\n';
    if (size > 0) MC_TRY(file_->read_at(size - 1, {&last, 1}));
    is_torn = last != '\n';
  }
  MC_TRY(file_->write(as_bytes(is_torn ? "\n" + lines : lines)));
  return file_->sync_data();
}

}  // namespace mc::server
