#include "mc-verify/store_audit.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <set>
#include <utility>

#include "digest/sha256.hpp"
#include "http/answer.hpp"
#include "http/backoff.hpp"
#include "sys/fd.hpp"
#include "wire/protocol.hpp"

namespace mc::tool_verify {
namespace {

constexpr std::uint32_t kTries = 6;  // in a row

class StoreAudit {
 public:
  StoreAudit(http::Client& client, const upload::Remote& remote, const StoreAuditOptions& options)
      : client_(client), remote_(remote), options_(options), backoff_({}, http::random_fraction()) {}

  Result<StoreReport> run() {
    report_.path = remote_.path;
    MC_TRY_ASSIGN(const std::string listing, text_of([&] { return upload::get_listing(client_, remote_); }));
    MC_TRY_ASSIGN(const auto held, upload::parse_listing(listing));
    if (held.empty()) {
      return fail(ErrorKind::not_found, "the server holds nothing of '" + remote_.path.text() + "'");
    }
    std::set<std::string> names;
    for (const wire::HeldFile& file : held) names.insert(file.name);
    if (names.erase(wire::kManifestName) == 0) {
      find(wire::kManifestName, "missing",
           fmt::format("{} files are held, and nothing says what they are", held.size()));
      return StoreReport{std::move(report_), recorded_s_};
    }
    MC_TRY_ASSIGN(const std::string manifest, get(wire::kManifestName, spool::kMaxManifestBytes));
    const ByteView bytes = as_bytes(manifest);
    const spool::LoadedManifest loaded = spool::load_manifest_bytes({bytes.begin(), bytes.end()});
    check_manifest(loaded);
    MC_TRY(check_files(loaded.manifest, names));
    recorded_s_ = recorded_seconds(loaded.manifest);
    return finish(loaded, names);
  }

 private:
  void find(std::string name, std::string problem, std::string detail) {
    report_.findings.push_back({std::move(name), std::move(problem), std::move(detail)});
  }

  template <class Attempt>
  auto with_retry(Attempt&& attempt) -> decltype(attempt()) {
    backoff_.reset();
    for (;;) {
      auto result = attempt();
      if (result || result.error().kind != ErrorKind::unavailable || result.error().sys_errno == EINTR ||
          backoff_.failures() + 1 >= kTries) {
        return result;
      }
      MC_TRY_ASSIGN(const bool stopped, sys::wait_readable(options_.stop_fd, static_cast<int>(backoff_.next_ms())));
      if (stopped) return fail(ErrorKind::unavailable, "stopped by a signal", EINTR);
    }
  }
  template <class Ask>
  Result<std::string> text_of(Ask&& ask) {
    return with_retry([&]() -> Result<std::string> {
      upload::Reply reply = ask();
      if (reply.verdict != upload::Verdict::accepted) return fail(std::move(reply.error));
      return std::move(reply.body);
    });
  }
  Result<std::string> get(const std::string& name, std::uint64_t limit_bytes) {
    return text_of([&] { return upload::get_file(client_, remote_, name, limit_bytes); });
  }

  void check_manifest(const spool::LoadedManifest& loaded) {
    const wire::Manifest& m = loaded.manifest;
    report_.closed = m.end.has_value();
    report_.recording_id = m.recording_id;
    for (const wire::ManifestDamage& damage : m.damage) {
      find(wire::kManifestName, "damaged", fmt::format("line {}: {}", damage.line, damage.what));
    }
    // A server takes whole lines only.
    if (m.torn_tail) find(wire::kManifestName, "damaged", "the last line is not whole");
    if (m.version != wire::kManifestVersion || !m.path) {
      find(wire::kManifestName, "damaged", "it does not say which recording it is of");
    } else if (m.path->session != remote_.path.session || m.path->take != remote_.path.take ||
               !wire::is_same_or_rebound(remote_.path.guest, m.path->guest)) {
      find(wire::kManifestName, "wrong-name", "it is of '" + m.path->text() + "'");
    }
    if (!m.end) return;
    report_.root = m.end->root;
    if (!loaded.root_matches) {
      find(wire::kManifestName, "damaged", "the root of the end line does not match the lines before it");
    }
    if (m.chunk_count() == 0) find(wire::kManifestName, "empty", "the recording was closed without a chunk");
  }

  Status check_files(const wire::Manifest& manifest, std::set<std::string>& names) {
    std::uint64_t total = 0, done = 0;
    for (const wire::ManifestFile& file : manifest.files) total += file.bytes();
    for (const wire::ManifestFile& file : manifest.files) {
      names.erase(file.name);
      MC_TRY(with_retry([&] { return check_file(file, done, total); }));
      done += file.bytes();
      report_.bytes += file.bytes();
      if (!file.chunk) continue;
      ++report_.chunks;
      report_.video_frames += file.chunk->video;
      report_.audio_frames += file.chunk->audio;
    }
    return {};
  }

  Status check_file(const wire::ManifestFile& file, std::uint64_t done, std::uint64_t total) {
    digest::Sha256 hash;
    std::uint64_t bytes = 0;
    http::Request request;
    request.url = remote_.base_url + wire::file_target(remote_.path, file.name);
    request.sink = [&](ByteView piece) -> Status {
      hash.update(piece);
      bytes += piece.size();
      if (options_.progress) options_.progress(done + bytes, total);
      return {};
    };
    MC_TRY_ASSIGN(const http::Response answer, client_.perform(request));
    if (answer.status == 404) {
      find(file.name, "missing", "the store does not hold it");
    } else if (!answer.ok()) {
      return fail(http::status_error(answer, "get '" + file.name + "'"));
    } else if (bytes != file.bytes()) {
      find(file.name, "damaged", fmt::format("{} bytes are held, {} are listed", bytes, file.bytes()));
    } else if (hash.hex() != file.sha256) {
      find(file.name, "damaged", "its SHA-256 is not the listed one");
    }
    return {};
  }

  Result<StoreReport> finish(const spool::LoadedManifest& loaded, const std::set<std::string>& unlisted) {
    for (const std::string& name : unlisted) {
      const auto parsed = wire::parse_file_name(name);
      if (!parsed || parsed->kind != wire::FileKind::receipt) {
        report_.notes.push_back(name + ": held, but not listed");
        continue;
      }
      MC_TRY_ASSIGN(const std::string text, get(name, wire::kMaxReceiptBytes));
      spool::ReceiptJudgement judged = spool::judge_receipt(name, text, &loaded, options_.keys);
      if (judged.finding) {
        report_.findings.push_back(std::move(*judged.finding));
      } else if (judged.is_signed) {
        report_.receipts.push_back(judged.receipt.key_fingerprint);
      } else {
        report_.notes.push_back(name + ": content right, signature not checked without its key");
      }
    }
    return StoreReport{std::move(report_), recorded_s_};
  }

  http::Client& client_;
  const upload::Remote& remote_;
  const StoreAuditOptions& options_;
  http::Backoff backoff_;
  spool::VerifyReport report_;
  double recorded_s_ = 0;
};

}  // namespace

double recorded_seconds(const wire::Manifest& manifest) {
  double seconds = 0;
  for (const wire::ManifestFile& file : manifest.files) {
    if (file.chunk) seconds += file.chunk->duration.seconds();
  }
  return seconds;
}

Result<StoreReport> audit_store(http::Client& client, const upload::Remote& remote, const StoreAuditOptions& options) {
  return StoreAudit(client, remote, options).run();
}

}  // namespace mc::tool_verify
