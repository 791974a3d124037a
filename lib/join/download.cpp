#include "join/download.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "digest/sha256.hpp"
#include "http/answer.hpp"
#include "http/backoff.hpp"
#include "spool/recording.hpp"
#include "sys/fd.hpp"
#include "sys/file_system.hpp"
#include "wire/names.hpp"

namespace mc::join {
namespace {

Result<std::string> make_directory(const std::string& beside) {
  std::string pattern;
  if (beside.empty()) {
    const char* tmp = std::getenv("TMPDIR");
    pattern = sys::join_path(tmp != nullptr && *tmp != '\0' ? tmp : "/tmp", "mc-join-XXXXXX");
  } else {
    const auto slash = beside.rfind('/');
    const std::string base = slash == std::string::npos ? beside : beside.substr(slash + 1);
    pattern = sys::join_path(sys::parent_path(beside), "." + base + ".join-XXXXXX");
  }
  if (::mkdtemp(pattern.data()) != nullptr) return pattern;
  Error error = sys::errno_error(errno, "cannot create directory '" + pattern + "'");
  if (error.kind == ErrorKind::not_found) error.kind = ErrorKind::no_space;
  return fail(std::move(error));
}

class Fetcher {
 public:
  Fetcher(std::string base, std::string directory, const DownloadOptions& options, http::Client client)
      : base_(std::move(base)),
        directory_(std::move(directory)),
        options_(options),
        client_(std::move(client)),
        backoff_({}, http::random_fraction()) {}

  Status run() {
    MC_TRY(with_retry([&] { return fetch(wire::kManifestName, {}); }));
    MC_TRY_ASSIGN(const spool::LoadedManifest loaded, spool::load_manifest(sys::real_file_system(), directory_));
    for (const wire::ManifestFile& file : loaded.manifest.files) total_ += file.bytes();
    for (const wire::ManifestFile& file : loaded.manifest.files) {
      auto fetched = with_retry([&] { return fetch(file.name, file.sha256); });
      if (!fetched && fetched.error().kind == ErrorKind::damaged) fetched = fetch(file.name, file.sha256);
      if (!fetched && fetched.error().kind == ErrorKind::not_found) {
        return fail(ErrorKind::damaged, "'" + file.name + "' is missing on the server");
      }
      MC_TRY(fetched);
    }
    return {};
  }

 private:
  Status with_retry(const std::function<Status()>& attempt) {
    backoff_.reset();
    for (;;) {
      Status status = attempt();
      if (status || status.error().kind != ErrorKind::unavailable || status.error().sys_errno == EINTR ||
          backoff_.failures() + 1 >= options_.tries) {
        return status;
      }
      const auto wait_ms = static_cast<int>(backoff_.next_ms());
      if (options_.http.stop_fd < 0) {
        ::usleep(static_cast<useconds_t>(wait_ms) * 1000);
        continue;
      }
      MC_TRY_ASSIGN(const bool stopped, sys::wait_readable(options_.http.stop_fd, wait_ms));
      if (stopped) return fail(ErrorKind::unavailable, "stopped by a signal", EINTR);
    }
  }

  Status fetch(const std::string& name, const std::string& sha256) {
    auto& fs = sys::real_file_system();
    const std::string path = sys::join_path(directory_, name);
    (void)fs.remove(path);
    MC_TRY_ASSIGN(const auto file, fs.create(path));
    digest::Sha256 hash;
    std::uint64_t bytes = 0;
    http::Request request;
    request.url = base_ + "/" + wire::percent_encode(name);
    request.sink = [&](ByteView piece) -> Status {
      hash.update(piece);
      bytes += piece.size();
      if (options_.progress && total_ > 0) options_.progress(done_ + bytes, total_);
      return file->write(piece);
    };
    MC_TRY_ASSIGN(const http::Response response, client_.perform(request));
    if (response.status == 404) {
      return fail(ErrorKind::not_found, "no such file on the server: '" + request.url + "'");
    }
    if (!response.ok()) return fail(http::status_error(response, "get '" + request.url + "'"));
    if (!sha256.empty() && hash.hex() != sha256) {
      return fail(ErrorKind::damaged, "'" + name + "' from the server is damaged: its SHA-256 is not the manifest's");
    }
    if (!sha256.empty()) done_ += bytes;
    return file->close();
  }

  const std::string base_;
  const std::string directory_;
  const DownloadOptions& options_;
  http::Client client_;
  http::Backoff backoff_;
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace

bool is_url(const std::string& text) { return text.starts_with("http://") || text.starts_with("https://"); }

Result<Download> Download::fetch(const std::string& url, const DownloadOptions& options) {
  MC_TRY_ASSIGN(std::string base, http::check_base_url(url));
  MC_TRY_ASSIGN(http::Client client, http::Client::open(options.http));
  MC_TRY_ASSIGN(std::string directory, make_directory(options.beside));
  Download download(directory);
  MC_TRY(Fetcher(std::move(base), std::move(directory), options, std::move(client)).run());
  return download;
}

Download::~Download() {
  if (directory_.empty()) return;
  auto& fs = sys::real_file_system();
  if (const auto entries = fs.list(directory_)) {
    for (const sys::DirectoryEntry& entry : *entries) (void)fs.remove(sys::join_path(directory_, entry.name));
  }
  (void)fs.remove_directory(directory_);
}

}  // namespace mc::join
