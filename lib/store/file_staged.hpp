// The two ends of a file in a FileStore: a stage being written, an object being read. Private to file_store.cpp and
// file_staged.cpp.
#pragma once

#include "digest/sha256.hpp"
#include "store/file_store.hpp"

namespace mc::store {

class FileStore::FileStaged final : public Staged {
 public:
  FileStaged(FileStore& store, wire::RecordingPath path, std::string name, std::string staged,
             std::unique_ptr<sys::File> file)
      : store_(store),
        path_(std::move(path)),
        name_(std::move(name)),
        directory_(store.directory_of(path_)),
        staged_(std::move(staged)),
        file_(std::move(file)) {}
  ~FileStaged() override;

  Status write(ByteView bytes) override;
  Status sync() override { return file_->sync_data(); }
  std::uint64_t size_bytes() const override { return written_; }
  std::string sha256() const override { return hash_.hex(); }
  Result<ByteBuffer> read_back(std::uint64_t limit_bytes) override;
  Result<PutOutcome> publish(OnConflict on_conflict) override;
  Result<bool> publish_over(const ObjectInfo& expected, Displaced displaced) override;

 private:
  Status make_durable();
  std::string target() const { return sys::join_path(directory_, name_); }
  Status quarantine(const std::string& from, const char* prefix, const std::string& sha256);

  FileStore& store_;
  wire::RecordingPath path_;
  std::string name_;
  std::string directory_;
  std::string staged_;
  std::unique_ptr<sys::File> file_;
  digest::Sha256 hash_;
  std::uint64_t written_ = 0;
  bool lies_there_ = true;       // a file exists under `staged_`
  bool left_something_ = false;  // the directory has a file because of us
};

class FileStore::FileObject final : public Object {
 public:
  FileObject(ObjectInfo info, std::unique_ptr<sys::File> file) : info_(std::move(info)), file_(std::move(file)) {}
  const ObjectInfo& info() const override { return info_; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
    return file_->read_at(offset, into);
  }
  Status settle() override;

 private:
  ObjectInfo info_;
  std::unique_ptr<sys::File> file_;
};

// SHA-256 of everything that `read` gives, as hexadecimal.
Result<std::string> hash_all(sys::File& file);

}  // namespace mc::store
