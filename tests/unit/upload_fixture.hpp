// A small recording on disk and a small server in memory, for the tests of upload and the tools on it. The chunks are
// not media: upload looks at hashes only.
#pragma once

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "digest/ed25519.hpp"
#include "digest/sha256.hpp"
#include "spool/recording.hpp"
#include "unit/fake_server.hpp"
#include "upload/uploader.hpp"
#include "wire/receipt.hpp"

namespace mc::test {

inline constexpr char kRecordingId[] = "0123456789abcdef0123456789abcdef";

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}
inline std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class SmallRecording {
 public:
  explicit SmallRecording(std::string directory, std::string id = kRecordingId,
                          const wire::RecordingPath& path = {"studio-a", "001", "alice"})
      : directory_(std::move(directory)), id_(std::move(id)) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    manifest_ = wire::header_line() + wire::recording_line(id_, path);
    const std::string init = "init bytes of " + id_;
    write_text(directory_ + "/init_001.mp4", init);
    manifest_ += wire::init_lines({{1}, init.size(), {{1, "audio", 48000, 1024, "mp4a.40.2"}}},
                                  digest::sha256_hex(as_bytes(init)));
    save();
  }

  void add_chunk() {
    const std::uint32_t n = ++chunks_;
    const std::string bytes = "chunk " + std::to_string(n) + std::string(1000 + n, 'c') + id_;
    write_text(path(wire::chunk_name({n})), bytes);
    manifest_ += wire::chunk_lines({{n}, bytes.size(), {(n - 1) * 48000, 48000}, {48000, 48000}, 0, 47, {1}},
                                   digest::sha256_hex(as_bytes(bytes)));
    save();
  }
  void close() {
    manifest_ += wire::end_line(chunks_, digest::sha256_hex(as_bytes(manifest_)));
    save();
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  const std::string& directory() const { return directory_; }
  const std::string& manifest() const { return manifest_; }
  void set_manifest(std::string text) {
    manifest_ = std::move(text);
    save();
  }

 private:
  void save() const { write_text(path("manifest"), manifest_); }

  std::string directory_;
  std::string id_;
  std::string manifest_;
  std::uint32_t chunks_ = 0;
};

// As mc-serve behaves, with hooks to misbehave. Locked by FakeServer: the handler is called by one thread at a time.
class MemoryServer {
 public:
  MemoryServer()
      : key_(std::move(*digest::PrivateKey::generate())), server_([this](const FakeRequest& r) { return serve(r); }) {
    server_.breaks = [this](const FakeRequest& request) -> std::optional<std::size_t> {
      if (breaks_after_bytes == 0 || (request.method != "PUT" && request.method != "PATCH")) return std::nullopt;
      return breaks_after_bytes;
    };
    server_.broke = [this](const FakeRequest& request) { park(request); };
  }

  std::string url() const { return server_.url(); }
  FakeServer& http() { return server_; }
  digest::PublicKey public_key() const { return *key_.public_key(); }

  // How many files of a recording are held; also while requests come in, which the members below are not for.
  std::size_t files_of(const std::string& path) {
    return server_.locked([&] { return held[path].size(); });
  }

  // Asked first; nothing: go on as usual.
  std::function<std::optional<FakeAnswer>(const FakeRequest&)> hook;
  // By "SESSION/TAKE/GUEST", then name.
  std::map<std::string, std::map<std::string, std::string>> held;
  std::map<std::string, std::string> bound;  // path → recording id
  std::vector<std::string> puts;             // names, in the order of arrival
  int audits = 0;
  bool gives_receipts = true;
  // The connection breaks in the middle of each longer body; what came so far is kept, of so many files at most.
  std::atomic<std::size_t> breaks_after_bytes = 0;
  std::size_t most_parts = 256;
  int breaks = 0;
  std::uint64_t body_bytes = 0;  // of all PUTs and PATCHes
  std::uint64_t lost_bytes = 0;  // of them, that were thrown away

  static FakeAnswer problem(int status, const std::string& type, const std::string& title) {
    return {.status = status,
            .body = wire::format_problem({.type = type, .status = status, .title = title, .detail = {}}),
            .content_type = "application/problem+json"};
  }

 private:
  FakeAnswer serve(const FakeRequest& request) {
    if (hook) {
      if (auto answer = hook(request)) return *answer;
    }
    if (request.target == "/v1/key") return {.body = *public_key().pem()};
    const std::string prefix = "/v1/recordings/";
    const auto slash = request.target.rfind('/');
    const std::string path = *wire::percent_decode(request.target.substr(prefix.size(), slash - prefix.size()));
    const std::string name = request.target.substr(slash + 1);
    if (name.empty()) return list(path);
    if (request.method == "HEAD" && held.contains(path) && held[path].contains(name)) {
      return {.body = held[path][name],
              .more_headers = {"Repr-Digest: " +
                               wire::format_digest(digest::to_base64(digest::sha256(as_bytes(held[path][name]))))}};
    }
    const auto part = std::ranges::find(parts_, part_of(request), &Part::first);
    if (request.method == "HEAD" && part != parts_.end()) {
      return {.status = 204,
              .more_headers = {"Upload-Offset: " + std::to_string(part->second.size()), "Upload-Complete: ?0"}};
    }
    if (request.method != "PUT" && request.method != "PATCH") return {.status = 404};
    body_bytes += request.body.size();
    std::string body = request.body;
    if (request.method == "PATCH") {
      if (part == parts_.end() || request.headers.at("upload-offset") != std::to_string(part->second.size())) {
        return problem(409, "mismatching-upload-offset", "the upload is not at this offset");
      }
      body.insert(0, part->second);
    }
    if (part != parts_.end()) parts_.erase(part);
    return put(request, path, name, body);
  }

  FakeAnswer put(const FakeRequest& request, const std::string& path, const std::string& name,
                 const std::string& body) {
    const std::string id = request.headers.at("maycast-recording");
    const auto& owner = bound.emplace(path, id).first->second;
    if (owner != id) return problem(409, "recording-taken", "another recording has this path");
    const std::string digest = wire::format_digest(digest::to_base64(digest::sha256(as_bytes(body))));
    if (request.headers.at("repr-digest") != digest) return problem(400, "digest-mismatch", "not what the digest says");
    puts.push_back(name);
    held[path][name] = body;
    if (name == wire::kManifestName) return audit(path, body);
    return {.status = 201};
  }

  using Part = std::pair<std::string, std::string>;  // target and digest, bytes
  static std::string part_of(const FakeRequest& request) {
    const auto digest = request.headers.find("repr-digest");
    return request.target + " " + (digest == request.headers.end() ? std::string() : digest->second);
  }
  void park(const FakeRequest& request) {
    ++breaks;
    body_bytes += request.body.size();
    const std::string key = part_of(request);
    std::string bytes = request.body;
    if (const auto part = std::ranges::find(parts_, key, &Part::first); part != parts_.end()) {
      if (request.method == "PATCH" && request.headers.at("upload-offset") == std::to_string(part->second.size())) {
        bytes.insert(0, part->second);
      } else {
        lost_bytes += part->second.size();
      }
      parts_.erase(part);
    }
    parts_.emplace_back(key, bytes);
    if (parts_.size() > most_parts) {
      lost_bytes += parts_.front().second.size();
      parts_.erase(parts_.begin());
    }
  }

  FakeAnswer list(const std::string& path) {
    if (!held.contains(path)) return problem(404, "not-found", "nothing");
    std::string lines;
    for (const auto& [name, bytes] : held[path]) {
      lines += wire::format_held_file({name, bytes.size(), digest::sha256_hex(as_bytes(bytes))}) + "\n";
    }
    return {.body = lines};
  }

  FakeAnswer audit(const std::string& path, const std::string& text) {
    ++audits;
    const auto bytes = as_bytes(text);
    const auto loaded = spool::load_manifest_bytes(ByteBuffer(bytes.begin(), bytes.end()));
    wire::AuditAnswer answer;
    answer.closed = loaded.manifest.end.has_value();
    wire::Receipt receipt;
    for (const auto& file : loaded.manifest.files) {
      receipt.bytes += file.bytes();
      const auto found = held[path].find(file.name);
      if (found == held[path].end()) {
        answer.faults.push_back({file.name, "missing"});
      } else if (digest::sha256_hex(as_bytes(found->second)) != file.sha256) {
        answer.faults.push_back({file.name, "damaged"});
      }
    }
    if (answer.faults.empty() && gives_receipts) {
      receipt.recording_id = loaded.manifest.recording_id;
      receipt.path = *wire::parse_recording_path(path);
      receipt.root = loaded.manifest.end->root;
      receipt.manifest_sha256 = digest::sha256_hex(bytes);
      receipt.files = loaded.manifest.files.size();
      receipt.chunks = loaded.manifest.chunk_count();
      receipt.wall_ns = 1'700'000'000'000'000'000;
      receipt.key_fingerprint = public_key().fingerprint();
      receipt.signature_base64 = digest::to_base64(*key_.sign(as_bytes(wire::signed_part(receipt))));
      answer.synced = true;
      answer.receipt = wire::format_receipt(receipt);
    }
    return {.body = wire::format_audit_answer(answer), .content_type = "application/json"};
  }

  digest::PrivateKey key_;
  std::vector<Part> parts_;  // the oldest first
  FakeServer server_;        // last: it calls into the rest
};

// Writes down what it is told, and calls a hook.
class Witness final : public upload::Observer {
 public:
  void ready() override {
    ++readies;
    if (on_ready) on_ready();
  }
  void started(const upload::Which& which) override { started_ones.push_back(which.directory); }
  void uploaded(const upload::Which&, const std::string& name, std::uint64_t, const std::string&) override {
    uploads.push_back(name);
    if (on_uploaded) on_uploaded(name);
  }
  void waiting(const std::string& reason, double) override {
    waits.push_back(reason);
    if (on_waiting) on_waiting();
  }
  void alarm(const std::string& reason) override {
    alarms.push_back(reason);
    if (on_alarm) on_alarm();
  }
  void refused_by_audit(const upload::Which&, const std::vector<wire::AuditFault>& faults) override {
    nacks.push_back(faults);
  }
  void damaged(const upload::Which&, const std::string& name, const std::string&) override {
    damaged_files.push_back(name);
  }
  void failed(const std::string& directory, const Error&) override {
    failures.push_back(directory);
    if (on_failed) on_failed(directory);
  }
  void synced(const upload::Which& which, const std::string& name, const upload::UploadProgress& progress) override {
    receipt = name;
    at_end = progress;
    synced_ones.push_back(which.directory);
    if (on_synced) on_synced(which.directory);
  }
  void progress(const upload::UploadProgress& all) override {
    most_recordings = std::max(most_recordings, all.recordings);
  }

  int readies = 0;
  std::vector<std::string> started_ones, synced_ones, failures;  // directories
  std::vector<std::string> uploads, damaged_files;               // names
  std::vector<std::string> waits;
  std::vector<std::string> alarms;
  std::vector<std::vector<wire::AuditFault>> nacks;
  std::string receipt;
  upload::UploadProgress at_end;
  std::uint64_t most_recordings = 0;
  std::function<void()> on_ready, on_waiting, on_alarm;
  std::function<void(const std::string&)> on_uploaded, on_synced, on_failed;
};

}  // namespace mc::test
