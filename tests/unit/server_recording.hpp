// A small recording as a client would send it, and a service to send it to.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "digest/sha256.hpp"
#include "server/service.hpp"
#include "store/file_store.hpp"
#include "unit/scratch_directory.hpp"
#include "wire/manifest.hpp"

namespace mc::server {

inline std::string digest_header(std::string_view bytes) {
  return wire::format_digest(digest::to_base64(digest::sha256(as_bytes(bytes))));
}

struct TestRecording {
  std::string id = "0123456789abcdef0123456789abcdef";
  wire::RecordingPath path{"studio-a", "001", "alice"};
  std::map<std::string, std::string> files;  // inits and chunks
  std::string open_manifest, manifest;       // without and with the end line

  explicit TestRecording(std::uint32_t chunks = 3) {
    open_manifest = wire::header_line() + wire::recording_line(id, path) + wire::t0_line(1'000'000'000, 340);
    if (chunks > 0) {
      const std::string init = "the init segment";
      files[wire::init_name({1})] = init;
      const wire::TrackSummary track{1, "audio", 48000, 1024, "mp4a.40.2"};
      open_manifest += wire::init_lines({{1}, init.size(), {track}}, digest::sha256_hex(as_bytes(init)));
    }
    for (std::uint32_t n = 1; n <= chunks; ++n) {
      const std::string text = "media of chunk " + std::to_string(n);
      files[wire::chunk_name({n})] = text;
      const std::int64_t start = (n - 1) * std::int64_t{48000};
      open_manifest += wire::chunk_lines({{n}, text.size(), {start, 48000}, {48000, 48000}, 0, 47, {1}},
                                         digest::sha256_hex(as_bytes(text)));
    }
    manifest = open_manifest + wire::end_line(chunks, digest::sha256_hex(as_bytes(open_manifest)));
  }
};

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() : key_(digest::PrivateKey::generate().value()), public_key_(key_.public_key().value()) { start(); }

  // A new server on the same store and with the same key: what a restart is.
  void start() {
    service_.reset();
    index_.reset();
    store_.reset();
    store_ = store::FileStore::open(sys::real_file_system(), directory_ / "store", no_log()).value();
    index_.emplace(*store_, no_log());
    service_.emplace(*store_, *index_, key_, public_key_, metrics_, no_log());
  }

  Request request(std::string method, const TestRecording& recording, const std::string& name) {
    Request r;
    r.method = std::move(method);
    r.target = wire::file_target(recording.path, name);
    r.headers.recording = recording.id;
    return r;
  }
  Response send(const Request& r, std::string_view body) {
    auto begun = service_->begin_upload(r, [] {});
    if (auto* refused = std::get_if<Response>(&begun)) return std::move(*refused);
    const auto& upload = std::get<std::unique_ptr<Upload>>(begun);
    for (; !body.empty(); body.remove_prefix(std::min<std::size_t>(body.size(), 7))) {
      if (auto refused = upload->write(as_bytes(body.substr(0, 7)))) return std::move(*refused);
    }
    return upload->finish();
  }
  Response put(const TestRecording& recording, const std::string& name, std::string_view body) {
    Request r = request("PUT", recording, name);
    r.headers.repr_digest = digest_header(body);
    return send(r, body);
  }
  void put_files(const TestRecording& recording) {
    for (const auto& [name, text] : recording.files) ASSERT_EQ(put(recording, name, text).status, 201) << name;
  }
  wire::AuditAnswer audit(const TestRecording& recording, const std::string& manifest) {
    const Response response = put(recording, "manifest", manifest);
    EXPECT_EQ(response.status, 200) << response.body;
    return wire::parse_audit_answer(response.body).value_or(wire::AuditAnswer{});
  }
  Response get(const TestRecording& recording, const std::string& name, RequestHeaders headers = {}) {
    Request r = request("GET", recording, name);
    r.headers = std::move(headers);
    return service_->handle(r);
  }
  static std::string type_of(const Response& response) {
    const auto parsed = wire::parse_problem(response.body);
    return parsed && parsed->status == response.status ? parsed->type : "no problem document";
  }
  static std::string header(const Response& response, std::string_view name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return {};
  }
  static std::string body(Response& response) {
    if (!response.object) return response.body;
    ByteBuffer bytes(response.object->length);
    EXPECT_EQ(response.object->object->read_at(response.object->first, bytes), bytes.size());
    return std::string(as_text(bytes));
  }
  std::string file(const std::string& name) { return directory_ / ("store/studio-a/001/alice/" + name); }
  void overwrite(const std::string& name, std::string_view text) { std::ofstream(file(name)) << text; }
  std::string on_disk(const std::string& name) {
    std::ifstream in(file(name));
    return {std::istreambuf_iterator<char>(in), {}};
  }

  ScratchDirectory directory_;
  digest::PrivateKey key_;
  digest::PublicKey public_key_;
  Metrics metrics_;
  std::unique_ptr<store::FileStore> store_;
  std::optional<store::HeldIndex> index_;
  std::optional<Service> service_;
};

}  // namespace mc::server
