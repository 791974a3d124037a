// The threads that talk to the server: each has a connection of its own, kept alive, takes one job after the other and
// reports what came of it. They decide nothing and keep nothing; RecordingUpload does both.
//
//   SenderPool pool(fs, client_options, 4);
//   MC_TRY(pool.start());
//   pool.submit(job);
//   … poll pool.ready_fd() …
//   while (auto done = pool.take()) { … }
//
// The destructor stops running transfers at once and joins the threads: nothing here is worth waiting for, since every
// request can be sent again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "http/client.hpp"
#include "sys/fd.hpp"
#include "sys/file_system.hpp"
#include "upload/remote.hpp"

namespace mc::upload {

enum class Task : std::uint8_t {
  list,
  file,
  manifest,
  key,
  read,  // a file again, to see whether it is what the manifest lists; no request
};

struct Job {
  Task task = Task::file;
  Remote remote;
  Resume resume = Resume::no;  // of a file, the manifest
  std::uint64_t owner = 0;     // the caller's; comes back in Done, as do the next two
  std::uint32_t epoch = 0;
  // Task::file, Task::read: read from `path`, hashed again before it is sent.
  std::size_t index = 0;
  std::string name;
  std::string path;
  std::string sha256;
  std::uint64_t bytes = 0;
  // Task::manifest
  std::shared_ptr<const ByteBuffer> manifest;
};
struct Done {
  Job job;
  Reply reply;
};

class SenderPool {
 public:
  SenderPool(sys::FileSystem& fs, http::ClientOptions options, unsigned threads)
      : fs_(fs), options_(std::move(options)), wanted_(threads) {}
  ~SenderPool();
  SenderPool(const SenderPool&) = delete;
  SenderPool& operator=(const SenderPool&) = delete;

  Status start();
  void submit(Job job);
  std::optional<Done> take();
  int ready_fd() const { return ready_.get(); }

 private:
  void work();
  Reply run(http::Client& client, const Job& job);
  Reply read_file(const Job& job);
  Reply send_file(http::Client& client, const Job& job);

  sys::FileSystem& fs_;
  http::ClientOptions options_;
  unsigned wanted_;
  sys::Fd ready_;  // eventfd: something to take
  sys::Fd quit_;   // eventfd: readable for good once the pool goes
  std::mutex mutex_;
  std::condition_variable more_;
  bool quitting_ = false;
  std::deque<Job> jobs_;
  std::deque<Done> done_;
  std::vector<std::thread> threads_;
};

}  // namespace mc::upload
