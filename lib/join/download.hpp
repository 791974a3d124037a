// A recording on a server, brought here so that it can be joined: a directory of its own beside the output, gone with
// the object.
//
//   MC_TRY_ASSIGN(auto copy, Download::fetch("https://ingest.example/v1/recordings/studio-a/001/alice/", options));
//   …as with any recording directory, in copy.directory()…
//
// Every file is compared with the manifest's hash as it comes; one that differs is fetched once more (a proxy may have
// cut it) and is then damaged. What is transient is tried `tries` times, with growing waits.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "http/client.hpp"

namespace mc::join {

struct DownloadOptions {
  std::string beside;        // a path; the directory is made in its parent. Empty: in TMPDIR, or /tmp
  http::ClientOptions http;  // its stop_fd also ends the waits
  std::uint32_t tries = 6;   // in a row, per file
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes
};

class Download {
 public:
  // Kinds: usage (not a URL), not_found (no such recording), damaged, no_space, and those of http::Client.
  static Result<Download> fetch(const std::string& url, const DownloadOptions& options);
  Download(Download&& other) noexcept : directory_(std::exchange(other.directory_, {})) {}
  Download& operator=(Download&&) = delete;
  ~Download();

  const std::string& directory() const { return directory_; }

 private:
  explicit Download(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

// Is it a URL, and not a path?
bool is_url(const std::string& text);

}  // namespace mc::join
