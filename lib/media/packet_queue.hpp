// Encoded packets on their way from the capture threads to the writer, bounded in bytes. Capture never waits for it:
// when the writer is too slow, packets are dropped, whole groups of pictures at a time, and the loss is told by an
// event in front of the next packet of the stream, or at the end when none follows.
//
// What standby kept comes at the start of a recording from each stream at once. With hold() it is put into the order of
// its times first, for chunks are cut from packets as they come.
//
// Safe from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "media/stream.hpp"

namespace mc::media {

struct QueuedPacket {
  std::uint32_t stream = 0;
  std::int64_t pts = 0;
  bool key = false;
  bool picture = false;
  ByteBuffer data;
  std::int64_t at_ns = 0;  // the time of `pts`, to compare streams by
};

class PacketQueue {
 public:
  PacketQueue(std::uint64_t limit_bytes, std::size_t streams) : limit_bytes_(limit_bytes), losses_(streams) {}

  struct Loss {
    std::uint64_t packets = 0;  // 0: none
    std::int64_t from = 0;      // pts of the first
    std::int64_t last = 0;      // pts of the last
  };
  // Takes the packet or drops it. The answer: what was dropped in front of this one, when this one was taken and
  // something was. Then the packet has *not* been queued: tell the loss first and push it again.
  std::optional<Loss> push(QueuedPacket& packet);
  // What was dropped of `stream` since its last packet that was taken, once: for the end, when no packet tells it.
  Loss take_loss(std::uint32_t stream);
  // Past the limit too: events are small and must not be lost.
  void push_always(QueuedPacket packet);
  // Before the first pop(), which then waits until so many streams have said backlog_is_in(), or a second is over (a
  // device that gives nothing must not hold the others back), or the queue is closed. What was pushed before the hold
  // stays in front.
  void hold(std::size_t streams);
  void backlog_is_in();
  // For sources that can wait (not devices): until half of the room is free, or the queue is closed.
  void wait_for_room();
  // The next packet; nothing when the queue is closed and empty. Waits.
  std::optional<QueuedPacket> pop();
  void close();

  std::uint64_t dropped() const;
  std::uint64_t bytes() const;

 private:
  void sort_held();

  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable emptied_;
  std::deque<QueuedPacket> packets_;
  std::uint64_t limit_bytes_;
  std::uint64_t bytes_ = 0;
  std::uint64_t dropped_ = 0;
  std::vector<Loss> losses_;  // open ones, by stream
  bool closed_ = false;
  std::size_t held_streams_ = 0;          // whose backlog is not in yet
  std::optional<std::size_t> held_from_;  // index into packets_
  std::chrono::steady_clock::time_point held_until_;
};

}  // namespace mc::media
