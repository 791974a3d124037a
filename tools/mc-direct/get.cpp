#include "mc-direct/get.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <thread>
#include <vector>

#include "http/answer.hpp"
#include "http/backoff.hpp"
#include "sys/fd.hpp"
#include "sys/file_system.hpp"

namespace mc::tool_direct {
namespace {

constexpr std::uint32_t kTries = 8;  // in a row without a byte

struct Totals {
  std::atomic<std::uint64_t> received{0}, files{0};
};

constexpr std::uint64_t kSyncEveryBytes = 64U << 20;

// One file. What has come of it lies in .NAME.part; .NAME.tag says what it is a part of, and how much of it is durable:
// another run goes on from there, and never from what a power cut may have taken back.
class Fetch {
 public:
  Fetch(http::Client& client, const GetOptions& options, const std::string& recording, Totals& totals)
      : client_(client),
        options_(options),
        totals_(totals),
        fs_(sys::real_file_system()),
        url_(options.base_url + "/v1/recordings/" + wire::percent_encode(options.session) + "/" +
             wire::percent_encode(options.take) + "/" + wire::percent_encode(recording) + ".mp4"),
        path_(sys::join_path(options.directory, recording + ".mp4")),
        part_(sys::join_path(options.directory, "." + recording + ".mp4.part")),
        tag_(sys::join_path(options.directory, "." + recording + ".mp4.tag")) {}

  Status run() {
    http::Backoff backoff({}, http::random_fraction());
    for (;;) {
      const std::uint64_t before = have_;
      Status status = attempt();
      if (status || status.error().kind != ErrorKind::unavailable || status.error().sys_errno == EINTR) return status;
      if (have_ > before) backoff.reset();
      if (backoff.failures() + 1 >= kTries) return status;
      MC_TRY_ASSIGN(const bool stopped, sys::wait_readable(options_.http.stop_fd, static_cast<int>(backoff.next_ms())));
      if (stopped) return fail(ErrorKind::unavailable, "stopped by a signal", EINTR);
    }
  }

 private:
  Status attempt() {
    MC_TRY_ASSIGN(const auto head, client_.perform({.method = "HEAD", .url = url_}));
    // A HEAD has no words: the question is asked again for them.
    if (!head.ok()) {
      MC_TRY_ASSIGN(const auto why, client_.perform({.url = url_}));
      return fail(http::status_error(why.ok() ? head : why, "get '" + path_ + "'"));
    }
    const std::string tag(head.header("etag"));
    const std::string_view length = head.header("content-length");
    std::uint64_t size = 0;
    const auto [end, ec] = std::from_chars(length.data(), length.data() + length.size(), size);
    if (tag.empty() || length.empty() || ec != std::errc{}) {
      return fail(ErrorKind::protocol, "the server does not say how long '" + url_ + "' is");
    }
    MC_TRY(prepare(tag, size));
    const Status fetched = have_ < size ? fetch(tag) : Status{};
    if (fs_.info(part_)) MC_TRY(sync_part(tag));
    MC_TRY(fetched);
    if (have_ != size) {
      return fail(ErrorKind::unavailable, fmt::format("'{}' ended after {} of {} bytes", url_, have_, size));
    }
    MC_TRY(sys::publish_file(fs_, part_, path_));
    (void)fs_.remove(tag_);
    ++totals_.files;
    return {};
  }

  // Of another state of the recording, nothing can be used.
  Status prepare(const std::string& tag, std::uint64_t size) {
    const auto known = sys::read_file(fs_, tag_, 1024);
    const auto info = fs_.info(part_);
    have_ = 0;
    if (known && info) {
      const std::string_view text = as_text(*known);
      const auto space = text.rfind(' ');
      if (space != std::string_view::npos && text.substr(0, space) == tag) {
        (void)std::from_chars(text.data() + space + 1, text.data() + text.size(), have_);
      }
      if (have_ > info->size_bytes || have_ > size) have_ = 0;
    }
    if (have_ > 0) {
      MC_TRY_ASSIGN(const auto file, fs_.open_update(part_));
      MC_TRY(file->truncate(have_));
      return file->close();
    }
    if (info) MC_TRY(fs_.remove(part_));
    return {};
  }

  Status fetch(const std::string& tag) {
    MC_TRY_ASSIGN(const auto file, fs_.open_append(part_));
    const std::uint64_t begun = have_;
    http::Request request{.url = url_};
    if (begun > 0) request.headers = {{"Range", fmt::format("bytes={}-", begun)}, {"If-Range", tag}};
    request.sink = [&](ByteView piece) -> Status {
      MC_TRY(file->write(piece));
      have_ += piece.size();
      totals_.received += piece.size();
      return have_ >= synced_ + kSyncEveryBytes ? sync_part(tag) : Status{};
    };
    auto response = client_.perform(request);
    MC_TRY(file->close());
    if (!response) return fail(std::move(response).error());
    if (!response->ok()) return fail(http::status_error(*response, "get '" + path_ + "'"));
    if (begun > 0 && response->status != 206) {
      // The whole of it came behind the part.
      MC_TRY(fs_.remove(part_));
      have_ = 0;
      return fail(ErrorKind::unavailable, "the recording changed while it was fetched");
    }
    return {};
  }

  // What has come is durable, and then it is noted that it is.
  Status sync_part(const std::string& tag) {
    {
      MC_TRY_ASSIGN(const auto file, fs_.open_append(part_));
      MC_TRY(file->sync());
      MC_TRY(file->close());
    }
    MC_TRY(fs_.sync_directory(options_.directory));
    synced_ = have_;
    MC_TRY(sys::stage_file(fs_, tag_ + ".new", as_bytes(fmt::format("{} {}", tag, have_))));
    return sys::publish_file(fs_, tag_ + ".new", tag_);
  }

  http::Client& client_;
  const GetOptions& options_;
  Totals& totals_;
  sys::FileSystem& fs_;
  const std::string url_, path_, part_, tag_;
  std::uint64_t have_ = 0;
  std::uint64_t synced_ = 0;
};

}  // namespace

Result<int> get(cli::Invocation& in, control::SessionClient& client, const GetOptions& options) {
  MC_TRY_ASSIGN(const auto view, client.view(options.session));
  const wire::TakeView* take = view.find(options.take);
  if (take == nullptr) return fail(ErrorKind::not_found, "there is no take " + options.take);
  MC_TRY(sys::make_directories(sys::real_file_system(), options.directory));

  std::vector<std::string> wanted, missing;
  for (const wire::GuestOfTake& guest : take->guests) {
    if (guest.recordings.empty()) missing.push_back(guest.guest + ": nothing has come");
    for (const std::string& recording : guest.recordings) wanted.push_back(recording);
  }
  Totals totals;
  std::mutex mutex;
  std::size_t next = 0;
  std::optional<Error> fatal;        // of us: no other can be fetched either
  std::optional<Error> unavailable;  // of one: it may be there when it is asked for again
  std::atomic<std::size_t> running{0};
  const auto work = [&] {
    auto http = http::Client::open(options.http);
    for (;;) {
      std::string recording;
      {
        const std::lock_guard lock(mutex);
        if (!http && !fatal) fatal = http.error();
        if (fatal || next == wanted.size()) break;
        recording = wanted[next++];
      }
      const Status got = Fetch(*http, options, recording, totals).run();
      const std::lock_guard lock(mutex);
      if (got) {
        if (auto told = in.event("got", {{"recording", recording}}); !told && !fatal) fatal = told.error();
        continue;
      }
      const ErrorKind kind = got.error().kind;
      // Of the recording, and the others may be had; or of us, and none can.
      const bool is_away = kind == ErrorKind::unavailable && got.error().sys_errno != EINTR;
      if (is_away && !unavailable) unavailable = got.error();
      if (is_away || kind == ErrorKind::refused || kind == ErrorKind::not_found || kind == ErrorKind::damaged) {
        missing.push_back(recording + ": " + got.error().message);
      } else if (!fatal) {
        fatal = got.error();
      }
    }
    --running;
  };
  std::vector<std::thread> threads;
  running = std::min<std::size_t>(options.parallel, std::max<std::size_t>(wanted.size(), 1));
  for (std::size_t i = running; i > 0; --i) threads.emplace_back(work);
  {
    cli::Progress progress(in);
    while (running > 0) {
      progress.show(fmt::format("{} of {} recordings, {}", totals.files.load(), wanted.size(),
                                cli::human_bytes(totals.received.load())));
      // After a signal the transfers end by themselves.
      if (sys::wait_readable(in.stop.stop_fd(), 100).value_or(true)) break;
    }
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& line : missing) in.log()(LogLevel::error, "missing: " + line);
  if (fatal) return fail(std::move(*fatal));
  json::array lines;
  for (const std::string& line : missing) lines.emplace_back(line);
  MC_TRY(in.event("finished", {{"files", totals.files.load()}, {"bytes", totals.received.load()}, {"missing", lines}}));
  in.log()(LogLevel::info,
           fmt::format("{} recordings of take {} in '{}'", totals.files.load(), options.take, options.directory));
  if (unavailable) return fail(std::move(*unavailable));
  return missing.empty() ? cli::kDone : cli::kNegative;
}

}  // namespace mc::tool_direct
