#include "upload/remote.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "digest/sha256.hpp"
#include "http/answer.hpp"

namespace mc::upload {
namespace {

constexpr std::uint64_t kMaxListingBytes = 64U << 20;  // five days of chunks of a second
// The audit may have to read the whole recording again before it answers.
constexpr std::uint32_t kAuditSeconds = 1800;
constexpr std::uint32_t kListingSeconds = 1800;

// Refusals that are about us or about what is held. Every other one (400, 404, 405, 431 …) says that the request made
// no sense, and ours do: it may be the line that damaged it, or the answer.
bool is_final(const http::Response& answer, const std::optional<wire::Problem>& problem) {
  if (!problem) return false;
  return answer.status == 409 || answer.status == 413 || answer.status == 415 || problem->type == "damaged-manifest" ||
         problem->type == "recording-mismatch";
}

Reply judge(Result<http::Response> answer, const std::string& what) {
  Reply reply;
  if (!answer) {
    reply.error = std::move(answer).error();
    switch (reply.error.kind) {
      case ErrorKind::unavailable:
        reply.verdict = Verdict::try_again;
        reply.broke_off = true;
        break;
      case ErrorKind::protocol: reply.verdict = Verdict::garbled; break;
      case ErrorKind::damaged:
      case ErrorKind::io: reply.verdict = Verdict::unusable; break;
      default: reply.verdict = Verdict::refused;
    }
    return reply;
  }
  if (answer->ok()) {
    reply.body = std::move(answer->body);
    return reply;
  }
  reply.error = http::status_error(*answer, what);
  reply.retry_after_ms = http::retry_after_ms(*answer);
  const auto problem = http::problem_of(*answer);
  const std::string type = problem ? problem->type : std::string();
  if (answer->status == 409 && type == "recording-taken") {
    reply.verdict = Verdict::taken;
  } else if (answer->status == 409 && type == "conflict") {
    reply.verdict = Verdict::conflict;
  } else if (answer->status == 400 && type == "digest-mismatch") {
    reply.verdict = Verdict::mismatch;
  } else if (answer->status == 401) {
    reply.verdict = Verdict::no_entry;
    reply.error = http::status_error(*answer, "enter");  // not about this file
  } else if (reply.error.kind == ErrorKind::unavailable) {
    reply.verdict = Verdict::try_again;
  } else if (reply.error.kind == ErrorKind::protocol) {
    reply.verdict = Verdict::garbled;
  } else if (reply.error.kind == ErrorKind::refused && !is_final(*answer, problem)) {
    reply.verdict = Verdict::garbled;
    if (answer->status == 404) reply.error.hint = "is that the URL of an mc-serve?";
  } else {
    reply.verdict = Verdict::refused;
  }
  return reply;
}

http::Headers put_headers(const Remote& remote, ByteView sha256) {
  return {{wire::kRecordingHeader, remote.recording_id},
          {wire::kReprDigestHeader, wire::format_digest(digest::to_base64(sha256))},
          {"Content-Type", "application/octet-stream"}};
}

std::string url_of(const Remote& remote, const std::string& name) {
  return remote.base_url + wire::file_target(remote.path, name);
}

// How much of what `request` sends is there already.
struct HeldPart {
  std::uint64_t bytes = 0;  // also 0 when nobody knows
  bool is_whole = false;    // published: the answer to an earlier try was lost
};

Result<HeldPart> held_part(http::Client& client, const http::Request& request, std::uint64_t size_bytes) {
  http::Request question;
  question.method = "HEAD";
  question.url = request.url;
  question.headers = request.headers;
  MC_TRY_ASSIGN(const http::Response answer, client.perform(question));
  const auto digest = std::ranges::find(request.headers, wire::kReprDigestHeader, &http::Headers::value_type::first);
  if (answer.status == 200 && digest != request.headers.end() && answer.header("repr-digest") == digest->second) {
    return HeldPart{size_bytes, true};
  }
  const std::string_view text = answer.header("upload-offset");
  std::uint64_t offset = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), offset);
  const bool is_number = !text.empty() && ec == std::errc{} && end == text.data() + text.size();
  return HeldPart{answer.status == 204 && is_number && offset <= size_bytes ? offset : 0, false};
}

http::Request rest_of(const http::Request& whole, std::uint64_t offset) {
  http::Request rest = whole;
  rest.method = "PATCH";
  std::erase_if(rest.headers, [](const auto& header) { return header.first == "Content-Type"; });
  rest.headers.emplace_back("Content-Type", wire::kPartialUploadType);
  rest.headers.emplace_back(wire::kUploadOffsetHeader, std::to_string(offset));
  rest.headers.emplace_back(wire::kUploadCompleteHeader, "?1");
  if (auto* file = std::get_if<http::FileBody>(&rest.body)) {
    file->offset_bytes += offset;
    file->size_bytes -= offset;
  } else if (auto* memory = std::get_if<ByteView>(&rest.body)) {
    *memory = memory->subspan(static_cast<std::size_t>(offset));
  }
  return rest;
}

enum class WhenHeld : std::uint8_t {
  done,
  send_again,  // what counts is the answer
};

// PUT, or after an earlier try that broke off: what is left of it.
Reply put(http::Client& client, const http::Request& whole, std::uint64_t size_bytes, const std::string& what,
          Resume resume, WhenHeld when_held) {
  std::uint64_t held_bytes = 0;
  // Twice: between question and answer the server may have lost what it had.
  for (int tries = 0; resume == Resume::ask_first && tries < 2; ++tries) {
    auto held = held_part(client, whole, size_bytes);
    if (!held) return judge(fail(std::move(held).error()), what);
    if (held->is_whole && when_held == WhenHeld::done) return Reply{};
    if (held->is_whole || held->bytes == 0) break;
    held_bytes = held->bytes;
    auto answer = client.perform(rest_of(whole, held_bytes));
    const auto problem = answer ? http::problem_of(*answer) : std::nullopt;
    if (problem && problem->type == "mismatching-upload-offset") continue;
    Reply reply = judge(std::move(answer), what);
    reply.held_bytes = held_bytes;
    return reply;
  }
  return judge(client.perform(whole), what);
}

}  // namespace

Result<Remote> parse_recording_url(std::string_view url) {
  constexpr std::string_view kRecordings = "/v1/recordings/";
  const auto is_none = [&] {
    return fail(Error{ErrorKind::usage, "not the URL of a recording: '" + std::string(url) + "'", 0,
                      "it looks like https://host/v1/recordings/SESSION/TAKE/GUEST/"});
  };
  MC_TRY_ASSIGN(const std::string text, http::check_base_url(url));
  const auto at = text.find(kRecordings);
  if (at == std::string::npos) return is_none();
  const auto decoded = wire::percent_decode(std::string_view(text).substr(at + kRecordings.size()));
  if (!decoded) return is_none();
  auto path = wire::parse_recording_path(*decoded);
  if (!path) return is_none();
  return Remote{text.substr(0, at), std::move(*path), {}};
}

Reply put_file(http::Client& client, const Remote& remote, const std::string& name, const std::string& sha256,
               sys::File& file, std::uint64_t size_bytes, Resume resume) {
  http::Request request;
  request.method = "PUT";
  request.url = url_of(remote, name);
  request.headers = put_headers(remote, digest::from_hex(sha256).value_or(ByteBuffer{}));
  request.body = http::FileBody{&file, size_bytes};
  return put(client, request, size_bytes, "upload '" + name + "'", resume, WhenHeld::done);
}

Reply put_manifest(http::Client& client, const Remote& remote, ByteView bytes, Resume resume) {
  http::Request request;
  request.method = "PUT";
  request.url = url_of(remote, wire::kManifestName);
  request.headers = put_headers(remote, digest::sha256(bytes));
  request.body = bytes;
  request.answer_timeout_s = kAuditSeconds;
  request.body_limit_bytes = kMaxListingBytes;
  return put(client, request, bytes.size(), "upload the manifest", resume, WhenHeld::send_again);
}

Reply get_listing(http::Client& client, const Remote& remote) {
  http::Request request;
  request.url = url_of(remote, "");
  request.headers = {{wire::kRecordingHeader, remote.recording_id}};
  request.answer_timeout_s = kListingSeconds;
  request.body_limit_bytes = kMaxListingBytes;
  auto answer = client.perform(request);
  if (answer && answer->status == 404) {
    const auto problem = http::problem_of(*answer);
    if (problem && problem->type == "not-found") return Reply{};
  }
  return judge(std::move(answer), "list what is held of '" + remote.path.text() + "'");
}

Result<std::vector<wire::HeldFile>> parse_listing(std::string_view lines) {
  std::vector<wire::HeldFile> held;
  while (!lines.empty()) {
    const auto newline = lines.find('\n');
    if (newline == std::string_view::npos) return fail(ErrorKind::protocol, "the server's listing is torn");
    MC_TRY_ASSIGN(wire::HeldFile file, wire::parse_held_file(lines.substr(0, newline)));
    held.push_back(std::move(file));
    lines.remove_prefix(newline + 1);
  }
  return held;
}

Reply get_key(http::Client& client, const std::string& base_url) {
  http::Request request;
  request.url = base_url + "/v1/key";
  request.body_limit_bytes = 64 * 1024;
  return judge(client.perform(request), "get the server's key");
}

Reply get_file(http::Client& client, const Remote& remote, const std::string& name, std::uint64_t limit_bytes) {
  http::Request request;
  request.url = url_of(remote, name);
  request.body_limit_bytes = limit_bytes;
  return judge(client.perform(request), "get '" + name + "'");
}

}  // namespace mc::upload
