#include "spool/publisher.hpp"

#include <utility>

namespace mc::spool {

Publisher::Publisher(ManifestWriter& manifest, Mode mode, std::function<void()> on_done)
    : manifest_(manifest), mode_(mode), on_done_(std::move(on_done)) {
  if (mode_ == Mode::background) thread_ = std::thread([this] { work(); });
}

Publisher::~Publisher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

Status Publisher::status() const {
  if (error_) return fail(*error_);
  return {};
}

Status Publisher::submit(UnpublishedChunk chunk) {
  const std::uint64_t bytes = chunk.bytes;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return error_.has_value() || waiting_.size() < kMaxWaiting; });
    MC_TRY(status());
    unpublished_bytes_ += bytes;
    if (mode_ == Mode::background) {
      waiting_.push_back(std::move(chunk));
      changed_.notify_all();
      return {};
    }
  }
  finish_one(publish(chunk), bytes);
  const std::lock_guard lock(mutex_);
  return status();
}

void Publisher::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || (!waiting_.empty() && !error_); });
    if (stopping_) return;
    UnpublishedChunk chunk = std::move(waiting_.front());
    waiting_.pop_front();
    busy_ = true;
    changed_.notify_all();
    lock.unlock();
    const Result<wire::ChunkLine> line = publish(chunk);
    finish_one(line, chunk.bytes);
    lock.lock();
    busy_ = false;
    changed_.notify_all();
    if (on_done_) on_done_();
  }
}

void Publisher::finish_one(const Result<wire::ChunkLine>& line, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (line) {
    published_.push_back(*line);
    unpublished_bytes_ -= bytes;
  } else {
    error_ = line.error();
  }
  changed_.notify_all();
}

Result<wire::ChunkLine> Publisher::publish(UnpublishedChunk& chunk) {
  // Sealed durably before anything is staged: recovery must then build the very same bytes.
  chunk.journal.add_seal(chunk.seal);
  if (const Status sealed = chunk.journal.flush(); !sealed) {
    MC_TRY(manifest_.errors().accept(sealed.error(), "the journal is written again to a new file"));
    MC_TRY(chunk.journal.rewrite(manifest_.fs(), manifest_.directory(), chunk.entries, &chunk.seal));
  }
  MC_TRY_ASSIGN(BuiltChunk built, build_chunk(*chunk.movie, chunk.head, chunk.entries, chunk.seal));
  MC_TRY(publish_chunk(manifest_, built.line, built.bytes, built.ledger));
  // Only now: until the manifest is durable the journal is the only proof of these frames.
  MC_TRY(chunk.journal.remove(manifest_.fs()));
  return std::move(built.line);
}

Result<std::vector<wire::ChunkLine>> Publisher::published() {
  const std::lock_guard lock(mutex_);
  if (published_.empty()) MC_TRY(status());  // what was published is told first
  return std::exchange(published_, {});
}

Status Publisher::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return error_.has_value() || (waiting_.empty() && !busy_); });
  return status();
}

std::uint64_t Publisher::unpublished_bytes() const {
  const std::lock_guard lock(mutex_);
  return unpublished_bytes_;
}

}  // namespace mc::spool
