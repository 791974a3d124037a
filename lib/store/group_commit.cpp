#include "store/group_commit.hpp"

namespace mc::store {

Status GroupCommit::commit(const std::string& directory) {
  std::unique_lock lock(mutex_);
  Queue& queue = queues_[directory];  // stays where it is while others come and go
  ++queue.inside;
  ++counts_.asked;
  const bool leads = !queue.next;
  if (leads) queue.next = std::make_shared<Round>();
  const std::shared_ptr<Round> round = queue.next;
  queue.changed.wait(lock, [&] { return round->done || (leads && !queue.running); });
  if (leads) {
    // Whoever comes from here on has to wait for another round.
    queue.next.reset();
    queue.running = true;
    ++counts_.synced;
    lock.unlock();
    Status result;
    try {
      result = fs_.sync_directory(directory);
    } catch (const std::exception& e) {
      // Out of memory. Nobody may be left waiting, and nobody may be told that it is done.
      result = fail(ErrorKind::io, std::string("cannot sync a directory: ") + e.what());
    }
    lock.lock();
    round->result = std::move(result);
    round->done = true;
    queue.running = false;
    queue.changed.notify_all();
  }
  const Status result = round->result;
  if (--queue.inside == 0) queues_.erase(directory);
  return result;
}

GroupCommit::Counts GroupCommit::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace mc::store
