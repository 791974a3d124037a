#include "server/partial_uploads.hpp"

#include <algorithm>
#include <utility>

namespace mc::server {

void PartialUploads::begin(const Key& key, const void* owner, Interrupt interrupt) {
  std::unique_ptr<store::Staged> given_up;
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[key];
  given_up = std::exchange(entry.staged, nullptr);
  entry.owner = owner;
  entry.interrupt = std::move(interrupt);
}

void PartialUploads::park(const Key& key, const void* owner, std::unique_ptr<store::Staged> staged) {
  std::vector<std::unique_ptr<store::Staged>> given_up;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.owner != owner) {
      given_up.push_back(std::move(staged));
    } else {
      found->second = Entry{nullptr, {}, std::move(staged), std::chrono::steady_clock::now()};
      given_up = expired();
    }
  }
  changed_.notify_all();
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
  const auto active = [&] {
    const auto found = entries_.find(key);
    return found != entries_.end() && found->second.owner != nullptr;
  };
  if (active()) {
    const Interrupt interrupt = entries_.at(key).interrupt;
    lock.unlock();
    interrupt();
    lock.lock();
    changed_.wait_for(lock, kInterruptWait, [&] { return !active(); });
  }
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

std::vector<std::unique_ptr<store::Staged>> PartialUploads::expired() {
  std::vector<std::unique_ptr<store::Staged>> gone;
  const auto oldest_kept = std::chrono::steady_clock::now() - kKeep;
  std::size_t parked = 0;
  auto oldest = entries_.end();
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (at->second.staged && at->second.parked_at < oldest_kept) {
      gone.push_back(std::move(at->second.staged));
      at = entries_.erase(at);
      continue;
    }
    if (at->second.staged) {
      ++parked;
      if (oldest == entries_.end() || at->second.parked_at < oldest->second.parked_at) oldest = at;
    }
    ++at;
  }
  if (parked > kMost) {
    gone.push_back(std::move(oldest->second.staged));
    entries_.erase(oldest);
  }
  return gone;
}

}  // namespace mc::server
