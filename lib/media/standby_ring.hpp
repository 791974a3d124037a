// What a lane captured in standby, as far back as it is wanted: `span_ticks` behind the newest and `limit_bytes` at
// most. A span of 0 keeps nothing. Items come in the order of their times. Internal to this module; belongs to the
// thread of its lane.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

namespace mc::media {

template <typename Item>
class StandbyRing {
 public:
  void set_bounds(std::int64_t span_ticks, std::uint64_t limit_bytes) {
    span_ticks_ = span_ticks;
    limit_bytes_ = limit_bytes;
  }

  void push(std::int64_t ticks, std::uint64_t bytes, Item item) {
    if (span_ticks_ <= 0) return;
    bytes_ += bytes;
    entries_.push_back({ticks, bytes, std::move(item)});
    while (!entries_.empty() && (bytes_ > limit_bytes_ || entries_.front().ticks < ticks - span_ticks_)) drop_oldest();
  }
  void clear() {
    while (!entries_.empty()) drop_oldest();
  }
  bool empty() const { return entries_.empty(); }
  Item pop() {  // the oldest; it must not be empty
    Item item = std::move(entries_.front().item);
    drop_oldest();
    return item;
  }

 private:
  struct Entry {
    std::int64_t ticks = 0;
    std::uint64_t bytes = 0;
    Item item;
  };
  void drop_oldest() {
    bytes_ -= entries_.front().bytes;
    entries_.pop_front();
  }

  std::deque<Entry> entries_;
  std::int64_t span_ticks_ = 0;
  std::uint64_t limit_bytes_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace mc::media
