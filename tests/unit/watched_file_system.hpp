// The real file system, with every operation that changes something noted in order, and failing on demand.
#pragma once

#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sys/fd.hpp"
#include "sys/file_system.hpp"

namespace mc {

class WatchedFileSystem : public sys::FileSystem {
 public:
  explicit WatchedFileSystem(std::string root) : root_(std::move(root)) {}

  // The operation with this number (from 0) and, if `for_good`, all later ones fail with `error`.
  void fail_at(std::size_t number, int error, bool for_good = false) {
    const std::lock_guard lock(mutex_);
    log_.clear();
    fail_at_ = number;
    error_ = error;
    for_good_ = for_good;
  }
  // What `space` answers from now on.
  void set_space(sys::SpaceInfo space) {
    const std::lock_guard lock(mutex_);
    space_ = space;
  }
  // What was done since the last call, paths relative to the root: "sync_directory studio-a/001".
  std::vector<std::string> take_log() {
    const std::lock_guard lock(mutex_);
    return std::exchange(log_, {});
  }

  std::uint64_t bytes_read() const { return bytes_read_; }

  Result<std::unique_ptr<sys::File>> open_read(const std::string& path) override {
    return wrap(real_.open_read(path), path);
  }
  Result<std::unique_ptr<sys::File>> create(const std::string& path) override {
    MC_TRY(step("create", path));
    return wrap(real_.create(path), path);
  }
  Result<std::unique_ptr<sys::File>> open_append(const std::string& path) override {
    MC_TRY(step("open_append", path));
    return wrap(real_.open_append(path), path);
  }
  Result<std::unique_ptr<sys::File>> open_update(const std::string& path) override {
    MC_TRY(step("open_update", path));
    return wrap(real_.open_update(path), path);
  }
  Status rename(const std::string& from, const std::string& to) override {
    MC_TRY(step("rename", to));
    return real_.rename(from, to);
  }
  Status rename_new(const std::string& from, const std::string& to) override {
    MC_TRY(step("rename_new", to));
    return real_.rename_new(from, to);
  }
  Status remove(const std::string& path) override {
    MC_TRY(step("remove", path));
    return real_.remove(path);
  }
  Status remove_directory(const std::string& path) override {
    MC_TRY(step("remove_directory", path));
    return real_.remove_directory(path);
  }
  Status make_directory(const std::string& path) override {
    MC_TRY(step("make_directory", path));
    return real_.make_directory(path);
  }
  Status sync_directory(const std::string& path) override {
    MC_TRY(step("sync_directory", path));
    return real_.sync_directory(path);
  }
  Result<std::vector<sys::DirectoryEntry>> list(const std::string& path) override { return real_.list(path); }
  Result<sys::FileInfo> info(const std::string& path) override { return real_.info(path); }
  Result<sys::SpaceInfo> space(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    return space_ ? *space_ : real_.space(path);
  }

 private:
  class WatchedFile final : public sys::File {
   public:
    WatchedFile(WatchedFileSystem& fs, std::unique_ptr<sys::File> real, std::string path)
        : fs_(fs), real_(std::move(real)), path_(std::move(path)) {}
    Status write(ByteView bytes) override {
      MC_TRY(fs_.step("write", path_));
      return real_->write(bytes);
    }
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
      const auto n = real_->read_at(offset, into);
      fs_.bytes_read_ += n.value_or(0);
      return n;
    }
    Result<std::uint64_t> size() override { return real_->size(); }
    Status truncate(std::uint64_t length) override { return real_->truncate(length); }
    Status sync_data() override {
      MC_TRY(fs_.step("sync_data", path_));
      return real_->sync_data();
    }
    Status sync() override {
      MC_TRY(fs_.step("sync", path_));
      return real_->sync();
    }
    Status close() override {
      MC_TRY(fs_.step("close", path_));
      return real_->close();
    }

   private:
    WatchedFileSystem& fs_;
    std::unique_ptr<sys::File> real_;
    std::string path_;
  };

  Result<std::unique_ptr<sys::File>> wrap(Result<std::unique_ptr<sys::File>> file, const std::string& path) {
    if (!file) return file;
    return std::unique_ptr<sys::File>(std::make_unique<WatchedFile>(*this, std::move(*file), path));
  }

  Status step(const std::string& what, const std::string& path) {
    const std::lock_guard lock(mutex_);
    std::string relative = path.starts_with(root_) ? path.substr(root_.size()) : path;
    if (relative.starts_with('/')) relative.erase(0, 1);
    const std::size_t number = log_.size();
    log_.push_back(what + " " + relative);
    if (error_ != 0 && (number == fail_at_ || (for_good_ && number > fail_at_))) {
      return fail(sys::errno_error(error_, "injected: " + what + " '" + relative + "'"));
    }
    return {};
  }

  sys::FileSystem& real_ = sys::real_file_system();
  std::string root_;
  std::mutex mutex_;
  std::vector<std::string> log_;
  std::atomic<std::uint64_t> bytes_read_ = 0;
  std::size_t fail_at_ = 0;
  int error_ = 0;
  bool for_good_ = false;
  std::optional<sys::SpaceInfo> space_;
};

}  // namespace mc
