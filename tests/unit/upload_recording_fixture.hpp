// One recording, one server in memory, and the upload of the one to the other.
#pragma once

#include <gtest/gtest.h>

#include "unit/upload_fixture.hpp"
#include "upload/uploader.hpp"

namespace mc::upload {

inline constexpr char kPath[] = "studio-a/001/alice";

class Upload : public testing::Test {
 protected:
  Upload()
      : recording(testing::TempDir() + "upload_" + testing::UnitTest::GetInstance()->current_test_info()->name()) {}

  UploadOptions options() const {
    UploadOptions o;
    o.base_url = server.url();
    o.parallel = 3;
    o.backoff = {.base_ms = 1, .cap_ms = 5, .floor_ms = 1};
    return o;
  }
  Result<UploadEnd> push(const UploadOptions& o) {
    return upload_recording(sys::real_file_system(), recording.directory(), o, witness, log);
  }
  Result<UploadEnd> push() { return push(options()); }
  void closed_recording(int chunks) {
    for (int i = 0; i < chunks; ++i) recording.add_chunk();
    recording.close();
  }
  bool has_receipt() const {
    return std::filesystem::exists(recording.path("receipt-" + server.public_key().fingerprint()));
  }
  // Everything of the recording is at the server, byte for byte.
  void expect_equal(const std::string& path = kPath) {
    for (const auto& [name, bytes] : server.held[path]) EXPECT_EQ(bytes, test::read_text(recording.path(name))) << name;
    EXPECT_EQ(server.held[path].count("manifest"), 1U);
  }

  test::SmallRecording recording;
  test::MemoryServer server;
  test::Witness witness;
  std::vector<std::string> said;
  Log log = [this](LogLevel level, std::string_view text) {
    if (level >= LogLevel::warning) said.emplace_back(text);
  };
};

}  // namespace mc::upload
