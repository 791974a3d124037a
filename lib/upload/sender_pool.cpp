#include "upload/sender_pool.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "spool/recording.hpp"

namespace mc::upload {
namespace {

void ring(const sys::Fd& fd) {
  const std::uint64_t one = 1;
  (void)!::write(fd.get(), &one, sizeof one);
}

Reply unusable(Error error) {
  Reply reply;
  reply.verdict = error.kind == ErrorKind::unavailable ? Verdict::try_again : Verdict::unusable;
  reply.error = std::move(error);
  return reply;
}

}  // namespace

Status SenderPool::start() {
  ready_ = sys::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  quit_ = sys::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!ready_.valid() || !quit_.valid()) return fail(sys::errno_error(errno, "cannot create an event descriptor"));
  options_.stop_fd = quit_.get();
  for (unsigned i = 0; i < wanted_; ++i) threads_.emplace_back([this] { work(); });
  return {};
}

SenderPool::~SenderPool() {
  {
    const std::lock_guard lock(mutex_);
    quitting_ = true;
  }
  if (quit_.valid()) ring(quit_);
  more_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void SenderPool::submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  more_.notify_one();
}

std::optional<Done> SenderPool::take() {
  const std::lock_guard lock(mutex_);
  if (done_.empty()) {
    std::uint64_t count = 0;
    (void)!::read(ready_.get(), &count, sizeof count);
    return std::nullopt;
  }
  Done first = std::move(done_.front());
  done_.pop_front();
  return first;
}

void SenderPool::work() {
  std::optional<http::Client> client;
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [this] { return quitting_ || !jobs_.empty(); });
      if (quitting_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    Reply reply;
    if (!client) {
      auto opened = http::Client::open(options_);
      if (opened) {
        client = std::move(*opened);
      } else {
        reply = unusable(std::move(opened).error());
      }
    }
    if (client) reply = run(*client, job);
    const std::lock_guard lock(mutex_);
    done_.push_back({std::move(job), std::move(reply)});
    ring(ready_);
  }
}

Reply SenderPool::run(http::Client& client, const Job& job) {
  switch (job.task) {
    case Task::list: return get_listing(client, job.remote);
    case Task::file: return send_file(client, job);
    case Task::manifest: return put_manifest(client, job.remote, *job.manifest, job.resume);
    case Task::key: return get_key(client, job.remote.base_url);
    case Task::read: return read_file(job);
  }
  return {};
}

// The manifest is believed, the disk is not: what is not (any longer) what was recorded must not reach the server under
// the recording's name.
Reply SenderPool::read_file(const Job& job) {
  const auto hash = spool::hash_file(fs_, job.path);
  if (!hash) return unusable(hash.error());
  if (hash->bytes != job.bytes || hash->sha256 != job.sha256) {
    return unusable({ErrorKind::damaged, "'" + job.path + "' is not what the manifest lists", 0, {}});
  }
  return {};
}

Reply SenderPool::send_file(http::Client& client, const Job& job) {
  Reply read = read_file(job);
  if (read.verdict != Verdict::accepted) return read;
  const auto file = fs_.open_read(job.path);
  if (!file) return unusable(file.error());
  return put_file(client, job.remote, job.name, job.sha256, **file, job.bytes, job.resume);
}

}  // namespace mc::upload
