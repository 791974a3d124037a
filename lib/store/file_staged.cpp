#include "store/file_staged.hpp"

#include <cerrno>

namespace mc::store {
namespace {

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr char kConflictPrefix[] = ".conflict-";
constexpr char kDamagedPrefix[] = ".damaged-";

}  // namespace

Result<std::string> hash_all(sys::File& file) {
  digest::Sha256 hash;
  ByteBuffer piece(kReadBytes);
  for (std::uint64_t offset = 0;;) {
    MC_TRY_ASSIGN(const std::size_t n, file.read_at(offset, piece));
    if (n == 0) return hash.hex();
    hash.update({piece.data(), n});
    offset += n;
  }
}

FileStore::FileStaged::~FileStaged() {
  file_.reset();
  if (lies_there_) (void)store_.fs_.remove(staged_);
  store_.give_back_directory(path_, !left_something_);
}

Status FileStore::FileStaged::write(ByteView bytes) {
  MC_TRY(file_->write(bytes));
  hash_.update(bytes);
  written_ += bytes.size();
  return {};
}

Result<ByteBuffer> FileStore::FileStaged::read_back(std::uint64_t limit_bytes) {
  if (written_ > limit_bytes) return fail(ErrorKind::damaged, "'" + name_ + "' is too large");
  ByteBuffer bytes(written_);
  MC_TRY_ASSIGN(const std::size_t n, file_->read_at(0, bytes));
  if (n != bytes.size()) return fail(ErrorKind::io, "'" + staged_ + "' is shorter than what was written");
  return bytes;
}

Status FileStore::FileStaged::make_durable() {
  MC_TRY_ASSIGN(const std::uint64_t size, file_->size());
  if (size != written_) return fail(ErrorKind::io, "'" + staged_ + "' has the wrong length after writing");
  MC_TRY(file_->sync_data());
  return file_->close();
}

Result<PutOutcome> FileStore::FileStaged::publish(OnConflict on_conflict) {
  MC_TRY(make_durable());
  std::unique_lock lock(store_.lock_of(directory_));
  const Status renamed = store_.fs_.rename_new(staged_, target());
  lock.unlock();
  // Something is under the name, ours or not: the directory is not to be pruned.
  left_something_ = renamed || renamed.error().sys_errno == EEXIST;
  if (renamed) {
    lies_there_ = false;
    MC_TRY(store_.commit_names(directory_));
    return PutOutcome::created;
  }
  if (!left_something_) return fail(renamed.error());

  MC_TRY_ASSIGN(const auto held, store_.fs_.open_read(target()));
  MC_TRY_ASSIGN(const std::string held_sha256, hash_all(*held));
  if (held_sha256 == sha256()) {
    // Whoever put them there may not have got as far as the syncs, and we are about to answer for them.
    MC_TRY(held->sync_data());
    MC_TRY(store_.commit_names(directory_));
    return PutOutcome::same;
  }
  if (on_conflict == OnConflict::quarantine) {
    MC_TRY(quarantine(staged_, kConflictPrefix, sha256()));
    lies_there_ = false;
  }
  return PutOutcome::conflict;
}

Result<bool> FileStore::FileStaged::publish_over(const ObjectInfo& expected, Displaced displaced) {
  MC_TRY(make_durable());
  std::unique_lock lock(store_.lock_of(directory_));
  left_something_ = true;
  const auto info = store_.fs_.info(target());
  if (!info && info.error().kind == ErrorKind::not_found) return false;
  if (!info) return fail(info.error());
  if (store_.describe(name_, *info).token != expected.token) return false;

  if (displaced == Displaced::drop) {
    MC_TRY(store_.fs_.rename(staged_, target()));
  } else {
    const auto held = store_.fs_.open_read(target());
    const std::string held_sha256 = held ? hash_all(**held).value_or("unreadable") : "unreadable";
    // A crash between the two leaves the name missing, which the next audit reports: bytes that are not right are
    // never worth more than that.
    MC_TRY(quarantine(target(), kDamagedPrefix, held_sha256));
    MC_TRY(store_.fs_.rename_new(staged_, target()));
  }
  lies_there_ = false;
  lock.unlock();  // whoever replaces ours now makes it durable with his own
  MC_TRY(store_.commit_names(directory_));
  return true;
}

// The same bytes a second time are not kept twice.
Status FileStore::FileStaged::quarantine(const std::string& from, const char* prefix, const std::string& sha256) {
  const std::string kept = sys::join_path(directory_, prefix + name_ + "-" + sha256.substr(0, 16));
  const Status renamed = store_.fs_.rename_new(from, kept);
  if (!renamed && renamed.error().sys_errno == EEXIST) {
    MC_TRY(store_.fs_.remove(from));
  } else if (!renamed) {
    return renamed;
  }
  return store_.commit_names(directory_);
}

Status FileStore::FileObject::settle() {
  MC_TRY(file_->sync_data());
  file_->drop_cache();
  return {};
}

}  // namespace mc::store
