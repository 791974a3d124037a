#include "store/held_index.hpp"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "base/clock.hpp"

namespace mc::store {
namespace {

constexpr std::size_t kHashedAtOnceBytes = 256 * 1024;
constexpr std::size_t kMaxWaiting = 100'000;
constexpr std::int64_t kSettleNs = 100'000'000;

// What is read back has time; what comes in has not. Whoever needs a hash now reads by himself.
void work_in_the_background() {
  constexpr int kNicest = 19, kIdleClass = 3 << 13, kThisThread = 1;  // ioprio_set(2)
  const auto tid = static_cast<id_t>(::syscall(SYS_gettid));
  (void)::setpriority(PRIO_PROCESS, tid, kNicest);
  (void)::syscall(SYS_ioprio_set, kThisThread, 0, kIdleClass);
}

}  // namespace

HeldIndex::HeldIndex(Store& store, Log log, std::size_t max_notes)
    : store_(store), log_(std::move(log)), max_notes_(max_notes), worker_([this] { work(); }) {}

HeldIndex::~HeldIndex() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void HeldIndex::published(const wire::RecordingPath& path, const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= kMaxWaiting) return;
    waiting_.push_back({path, name, system_clock().monotonic_ns() + kSettleNs});
  }
  changed_.notify_one();
}

Result<std::string> HeldIndex::sha256_of(const wire::RecordingPath& path, const ObjectInfo& info) {
  if (auto known = noted(path.text(), info)) return std::move(*known);
  MC_TRY_ASSIGN(const auto object, store_.open(path, info.name));
  return read_back(path, *object);
}

Result<std::string> HeldIndex::sha256_of(const wire::RecordingPath& path, Object& object) {
  if (auto known = noted(path.text(), object.info())) return std::move(*known);
  return read_back(path, object);
}

Result<std::string> HeldIndex::read_again(const wire::RecordingPath& path, const std::string& name) {
  MC_TRY_ASSIGN(const auto object, store_.open(path, name));
  return read_back(path, *object);
}

std::uint64_t HeldIndex::files_read() const {
  const std::lock_guard lock(mutex_);
  return files_read_;
}

std::size_t HeldIndex::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

std::optional<std::string> HeldIndex::noted(const std::string& recording, const ObjectInfo& info) {
  const std::lock_guard lock(mutex_);
  const auto found = recordings_.find(recording);
  if (found == recordings_.end()) return std::nullopt;
  recent_.splice(recent_.begin(), recent_, found->second.age);
  const auto file = found->second.notes.find(info.name);
  if (file == found->second.notes.end() || file->second.token != info.token) return std::nullopt;
  return digest::to_hex(file->second.sha256);
}

void HeldIndex::note(const std::string& recording, const ObjectInfo& info, const digest::Sha256Value& sha256) {
  const std::lock_guard lock(mutex_);
  ++files_read_;
  if (!info.settled) return;
  auto found = recordings_.find(recording);
  if (found == recordings_.end()) {
    recent_.push_front(recording);
    found = recordings_.emplace(recording, Recording{{}, recent_.begin()}).first;
  }
  recent_.splice(recent_.begin(), recent_, found->second.age);
  const bool is_new = found->second.notes.insert_or_assign(info.name, Note{sha256, info.token}).second;
  note_count_ += is_new ? 1 : 0;
  while (note_count_ > max_notes_ && recent_.size() > 1) {
    const auto oldest = recordings_.find(recent_.back());
    note_count_ -= oldest->second.notes.size();
    recordings_.erase(oldest);
    recent_.pop_back();
  }
}

Result<std::string> HeldIndex::read_back(const wire::RecordingPath& path, Object& object) {
  MC_TRY(object.settle());
  digest::Sha256 hash;
  ByteBuffer piece(kHashedAtOnceBytes);
  std::uint64_t offset = 0;
  for (;;) {
    MC_TRY_ASSIGN(const std::size_t n, object.read_at(offset, piece));
    if (n == 0) break;
    hash.update({piece.data(), n});
    offset += n;
  }
  if (offset != object.info().size_bytes) {
    return fail(ErrorKind::io, "'" + object.info().name + "' changed its length while it was read");
  }
  // `info` is older than the reading: when the file changed in between, its token is another one by now, and the note
  // will never be used.
  note(path.text(), object.info(), hash.value());
  return hash.hex();
}

void HeldIndex::work() {
  work_in_the_background();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (waiting_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const std::int64_t wait_ns = waiting_.front().due_ns - system_clock().monotonic_ns();
    if (wait_ns > 0) {
      changed_.wait_for(lock, std::chrono::nanoseconds(wait_ns));
      continue;
    }
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    if (const auto object = store_.open(next.path, next.name)) {
      if (const auto sha256 = sha256_of(next.path, **object); !sha256) log_(LogLevel::warning, sha256.error().message);
    }
    lock.lock();
  }
}

}  // namespace mc::store
