#include "media/packet_queue.hpp"

#include <algorithm>
#include <utility>

namespace mc::media {
namespace {

constexpr auto kLongestHold = std::chrono::seconds(1);

}  // namespace

std::optional<PacketQueue::Loss> PacketQueue::push(QueuedPacket& packet) {
  const std::lock_guard lock(mutex_);
  Loss& loss = losses_[packet.stream];
  const bool full = bytes_ + packet.data.size() > limit_bytes_;
  // Pictures that lean on a dropped one cannot be shown.
  const bool orphan = loss.packets > 0 && packet.picture && !packet.key;
  if (full || orphan) {
    if (loss.packets++ == 0) loss.from = packet.pts;
    loss.last = packet.pts;
    ++dropped_;
    return std::nullopt;
  }
  if (loss.packets > 0) return std::exchange(loss, {});
  bytes_ += packet.data.size();
  packets_.push_back(std::move(packet));
  filled_.notify_one();
  return std::nullopt;
}

PacketQueue::Loss PacketQueue::take_loss(std::uint32_t stream) {
  const std::lock_guard lock(mutex_);
  return std::exchange(losses_[stream], {});
}

void PacketQueue::push_always(QueuedPacket packet) {
  const std::lock_guard lock(mutex_);
  bytes_ += packet.data.size();
  packets_.push_back(std::move(packet));
  filled_.notify_one();
}

std::optional<QueuedPacket> PacketQueue::pop() {
  std::unique_lock lock(mutex_);
  if (held_from_) {
    filled_.wait_until(lock, held_until_, [this] { return closed_ || held_streams_ == 0; });
    sort_held();
  }
  filled_.wait(lock, [this] { return closed_ || !packets_.empty(); });
  if (packets_.empty()) return std::nullopt;
  QueuedPacket packet = std::move(packets_.front());
  packets_.pop_front();
  bytes_ -= packet.data.size();
  emptied_.notify_all();
  return packet;
}

void PacketQueue::hold(std::size_t streams) {
  const std::lock_guard lock(mutex_);
  held_streams_ = streams;
  held_from_ = packets_.size();
  held_until_ = std::chrono::steady_clock::now() + kLongestHold;
}

void PacketQueue::backlog_is_in() {
  const std::lock_guard lock(mutex_);
  if (held_streams_ > 0 && --held_streams_ == 0) filled_.notify_all();
}

void PacketQueue::sort_held() {
  // An event is in front of the packet that it was told in front of: they have one time.
  std::stable_sort(packets_.begin() + static_cast<std::ptrdiff_t>(*held_from_), packets_.end(),
                   [](const QueuedPacket& a, const QueuedPacket& b) { return a.at_ns < b.at_ns; });
  held_from_.reset();
  held_streams_ = 0;
}

void PacketQueue::wait_for_room() {
  std::unique_lock lock(mutex_);
  emptied_.wait(lock, [this] { return closed_ || bytes_ <= limit_bytes_ / 2; });
}

void PacketQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  emptied_.notify_all();
  filled_.notify_all();
}

std::uint64_t PacketQueue::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

std::uint64_t PacketQueue::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace mc::media
