#include "server/partial_uploads.hpp"

#include <algorithm>
#include <utility>

namespace mc::server {

PartialUploads::PartialUploads(Limits limits) : limits_(limits), worker_([this] { work(); }) {}

PartialUploads::~PartialUploads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  parked_.notify_all();
  worker_.join();
}

void PartialUploads::begin(const Key& key, const void* owner, Interrupt interrupt) {
  Dropped dropped;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[key];
    if (entry.staged) dropped.push_back(std::move(entry.staged));
    entry.owner = owner;
    entry.interrupt = std::move(interrupt);
    enforce_limits(dropped);
  }
  changed_.notify_all();
}

void PartialUploads::park(const Key& key, const void* owner, std::unique_ptr<store::Staged> staged) {
  Dropped dropped;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.owner != owner) {
      dropped.push_back(std::move(staged));
    } else {
      found->second = Entry{nullptr, {}, std::move(staged), std::chrono::steady_clock::now()};
      enforce_limits(dropped);
    }
  }
  changed_.notify_all();
  parked_.notify_all();
}

void PartialUploads::end(const Key& key, const void* owner) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.owner != owner) return;
    entries_.erase(found);
  }
  changed_.notify_all();
}

std::optional<std::uint64_t> PartialUploads::offset(const Key& key) {
  std::unique_lock lock(mutex_);
  const auto is_fed_by = [&](const void* owner) {
    const auto found = entries_.find(key);
    return found != entries_.end() && found->second.owner == owner;
  };
  const auto found = entries_.find(key);
  if (found != entries_.end() && found->second.owner != nullptr) {
    const void* const owner = found->second.owner;
    const Interrupt interrupt = found->second.interrupt;
    lock.unlock();
    interrupt();
    lock.lock();
    changed_.wait_for(lock, limits_.interrupt_wait, [&] { return !is_fed_by(owner); });
  }
  lock.unlock();
  return parked_bytes(key);
}

std::optional<std::uint64_t> PartialUploads::parked_bytes(const Key& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || !found->second.staged) return std::nullopt;
  return found->second.staged->size_bytes();
}

std::unique_ptr<store::Staged> PartialUploads::take(const Key& key, std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || !found->second.staged || found->second.staged->size_bytes() != offset) return nullptr;
  auto staged = std::move(found->second.staged);
  entries_.erase(found);
  return staged;
}

void PartialUploads::drop_parked() {
  Dropped dropped;
  const std::lock_guard lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (at->second.staged) dropped.push_back(std::move(at->second.staged));
    at = at->second.owner == nullptr ? entries_.erase(at) : std::next(at);
  }
}

PartialUploads::Parked PartialUploads::parked() const {
  Parked parked;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, entry] : entries_) {
    if (!entry.staged) continue;
    ++parked.uploads;
    parked.bytes += entry.staged->size_bytes();
  }
  return parked;
}

void PartialUploads::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    auto oldest = std::chrono::steady_clock::time_point::max();
    for (const auto& [key, entry] : entries_) {
      if (entry.staged) oldest = std::min(oldest, entry.parked_at);
    }
    if (oldest == std::chrono::steady_clock::time_point::max()) {
      parked_.wait(lock);
    } else if (oldest + limits_.keep >= std::chrono::steady_clock::now()) {
      parked_.wait_until(lock, oldest + limits_.keep + std::chrono::milliseconds(1));
    } else {
      Dropped dropped;
      enforce_limits(dropped);
      lock.unlock();
      dropped.clear();
      lock.lock();
    }
  }
}

void PartialUploads::enforce_limits(Dropped& dropped) {
  const auto oldest_kept = std::chrono::steady_clock::now() - limits_.keep;
  for (;;) {
    std::size_t parked = 0;
    std::uint64_t bytes = 0;
    auto oldest = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (!at->second.staged) continue;
      ++parked;
      bytes += at->second.staged->size_bytes();
      if (oldest == entries_.end() || at->second.parked_at < oldest->second.parked_at) oldest = at;
    }
    if (parked == 0) return;
    const bool is_fine = parked <= limits_.most && bytes <= limits_.most_bytes;
    if (is_fine && oldest->second.parked_at >= oldest_kept) return;
    dropped.push_back(std::move(oldest->second.staged));
    entries_.erase(oldest);
  }
}

}  // namespace mc::server
