#include "crash/mutants.hpp"

#include <optional>

namespace mc::crash {
namespace {

bool is(const std::string& path, std::string_view part) { return path.find(part) != std::string::npos; }

class MutantFileSystem final : public sys::FileSystem {
 public:
  MutantFileSystem(Mutant mutant, SimFileSystem& real) : mutant_(mutant), real_(real) {}
  ~MutantFileSystem() override { (void)catch_up(); }
  MutantFileSystem(const MutantFileSystem&) = delete;
  MutantFileSystem& operator=(const MutantFileSystem&) = delete;

  Result<std::unique_ptr<sys::File>> open_read(const std::string& path) override { return real_.open_read(path); }
  Result<std::unique_ptr<sys::File>> create(const std::string& path) override {
    MC_TRY(catch_up());
    if (is(path, ".journal-")) journals_.push_back(path);
    return wrap(real_.create(path), path);
  }
  Result<std::unique_ptr<sys::File>> open_append(const std::string& path) override {
    MC_TRY(catch_up());
    // A chunk's lines are about to be written; its journal is the oldest.
    if (mutant_ == Mutant::journal_dropped_early && is(path, "manifest") && journals_.size() > 1) {
      MC_TRY(real_.remove(journals_.front()));
      journals_.erase(journals_.begin());
    }
    return wrap(real_.open_append(path), path);
  }
  Result<std::unique_ptr<sys::File>> open_update(const std::string& path) override {
    MC_TRY(catch_up());
    return wrap(real_.open_update(path), path);
  }
  Status rename(const std::string& from, const std::string& to) override {
    MC_TRY(catch_up());
    return real_.rename(from, to);
  }
  Status rename_new(const std::string& from, const std::string& to) override {
    MC_TRY(catch_up());
    return real_.rename_new(from, to);
  }
  Status remove(const std::string& path) override {
    MC_TRY(catch_up());
    if (mutant_ == Mutant::journal_dropped_early && is(path, ".journal-") && !real_.info(path)) return {};
    std::erase(journals_, path);
    return real_.remove(path);
  }
  Status remove_directory(const std::string& path) override { return real_.remove_directory(path); }
  Status make_directory(const std::string& path) override { return real_.make_directory(path); }
  Status sync_directory(const std::string& path) override {
    MC_TRY(catch_up());
    const bool holds_files = is(path, "alice");
    if (mutant_ == Mutant::directory_not_synced && holds_files) return {};
    if (mutant_ == Mutant::parent_not_synced && !holds_files) return {};
    return real_.sync_directory(path);
  }
  Result<std::vector<sys::DirectoryEntry>> list(const std::string& path) override { return real_.list(path); }
  Result<sys::FileInfo> info(const std::string& path) override { return real_.info(path); }
  Result<sys::SpaceInfo> space(const std::string& path) override { return real_.space(path); }

 private:
  class MutantFile final : public sys::File {
   public:
    MutantFile(MutantFileSystem& fs, std::unique_ptr<sys::File> real, std::string path)
        : fs_(fs), real_(std::move(real)), path_(std::move(path)) {}
    ~MutantFile() override {
      if (fs_.late_ == real_.get()) (void)fs_.catch_up();
    }
    MutantFile(const MutantFile&) = delete;
    MutantFile& operator=(const MutantFile&) = delete;

    Status write(ByteView bytes) override {
      MC_TRY(fs_.catch_up());
      return real_->write(bytes);
    }
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
      return real_->read_at(offset, into);
    }
    Result<std::uint64_t> size() override { return real_->size(); }
    Status truncate(std::uint64_t length) override { return real_->truncate(length); }
    Status sync_data() override { return sync(); }
    Status sync() override {
      MC_TRY(fs_.catch_up());
      if (fs_.leaves_out_sync_of(path_)) return {};
      if (fs_.mutant_ == Mutant::acknowledged_before_flush && is(path_, ".journal-")) {
        fs_.late_ = real_.get();  // flushed only when the next operation comes, and that is behind the acknowledgement
        return {};
      }
      return real_->sync();
    }
    Status close() override { return real_->close(); }

   private:
    MutantFileSystem& fs_;
    std::unique_ptr<sys::File> real_;
    std::string path_;
  };

  bool leaves_out_sync_of(const std::string& path) const {
    switch (mutant_) {
      case Mutant::chunk_not_synced:
      case Mutant::recovered_chunk_not_synced: return is(path, "chunk_");
      case Mutant::manifest_not_synced: return is(path, "manifest") && !is(path, ".stage-");
      case Mutant::journal_not_synced: return is(path, ".journal-");
      default: return false;
    }
  }

  Status catch_up() {
    if (late_ == nullptr) return {};
    return std::exchange(late_, nullptr)->sync();
  }

  Result<std::unique_ptr<sys::File>> wrap(Result<std::unique_ptr<sys::File>> file, const std::string& path) {
    if (!file) return file;
    return std::unique_ptr<sys::File>(std::make_unique<MutantFile>(*this, std::move(*file), path));
  }

  Mutant mutant_;
  SimFileSystem& real_;
  sys::File* late_ = nullptr;
  std::vector<std::string> journals_;
};

}  // namespace

const char* name(Mutant mutant) {
  switch (mutant) {
    case Mutant::chunk_not_synced: return "chunk_not_synced";
    case Mutant::directory_not_synced: return "directory_not_synced";
    case Mutant::parent_not_synced: return "parent_not_synced";
    case Mutant::manifest_not_synced: return "manifest_not_synced";
    case Mutant::journal_not_synced: return "journal_not_synced";
    case Mutant::journal_dropped_early: return "journal_dropped_early";
    case Mutant::acknowledged_before_flush: return "acknowledged_before_flush";
    case Mutant::recovered_chunk_not_synced: return "recovered_chunk_not_synced";
  }
  return "";
}

std::unique_ptr<sys::FileSystem> plant(Mutant mutant, SimFileSystem& fs) {
  return std::make_unique<MutantFileSystem>(mutant, fs);
}

}  // namespace mc::crash
