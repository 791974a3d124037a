// Uploads that broke off, kept to go on: the table of them, and what the service makes of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "server/partial_uploads.hpp"
#include "unit/server_recording.hpp"
#include "unit/watched_file_system.hpp"

namespace mc::server {
namespace {

using std::chrono::milliseconds;

class SomeBytes final : public store::Staged {
 public:
  SomeBytes(std::uint64_t bytes, std::atomic<int>& alive) : bytes_(bytes), alive_(alive) { ++alive_; }
  ~SomeBytes() override { --alive_; }
  Status write(ByteView bytes) override {
    bytes_ += bytes.size();
    return {};
  }
  Status sync() override { return {}; }
  std::uint64_t size_bytes() const override { return bytes_; }
  std::string sha256() const override { return {}; }
  Result<ByteBuffer> read_back(std::uint64_t) override { return ByteBuffer{}; }
  Result<store::PutOutcome> publish(store::OnConflict) override { return store::PutOutcome::created; }
  Result<bool> publish_over(const store::ObjectInfo&, store::Displaced) override { return true; }

 private:
  std::uint64_t bytes_;
  std::atomic<int>& alive_;
};

class Table : public ::testing::Test {
 protected:
  static PartialUploads::Key key(int n) { return {"s/001/g", std::to_string(n), "id", "sha"}; }
  void park(PartialUploads& table, int n, std::uint64_t bytes = 10) {
    table.begin(key(n), this, [] {});
    table.park(key(n), this, std::make_unique<SomeBytes>(bytes, alive_));
  }
  std::atomic<int> alive_ = 0;
};

TEST_F(Table, ParkedIsTakenOnceAndOnlyAtItsOffset) {
  PartialUploads table;
  park(table, 1);
  EXPECT_EQ(table.offset(key(1)), 10U);
  EXPECT_EQ(table.offset(key(2)), std::nullopt);
  EXPECT_FALSE(table.take(key(1), 9));
  EXPECT_TRUE(table.take(key(1), 10));
  EXPECT_FALSE(table.take(key(1), 10));
  EXPECT_EQ(table.offset(key(1)), std::nullopt);
}

TEST_F(Table, ANewBeginningGivesUpWhatWasParked) {
  PartialUploads table;
  park(table, 1);
  table.begin(key(1), this, [] {});
  EXPECT_EQ(alive_, 0);
  EXPECT_EQ(table.parked_bytes(key(1)), std::nullopt);
}

TEST_F(Table, WhoeverWasReplacedParksNothingAndEndsNothing) {
  PartialUploads table;
  const int earlier = 0, later = 0;
  table.begin(key(1), &earlier, [] {});
  table.begin(key(1), &later, [] {});
  table.park(key(1), &earlier, std::make_unique<SomeBytes>(10, alive_));
  table.end(key(1), &earlier);
  EXPECT_EQ(alive_, 0);
  table.park(key(1), &later, std::make_unique<SomeBytes>(20, alive_));
  EXPECT_EQ(table.offset(key(1)), 20U);
  table.end(key(1), &later);
  EXPECT_EQ(table.offset(key(1)), 20U) << "what is parked is nobody's to end";
}

TEST_F(Table, AskingInterruptsTheOneThatIsStillFed) {
  PartialUploads table;
  std::thread parker;
  table.begin(key(1), this, [&] {
    parker = std::thread([&] { table.park(key(1), this, std::make_unique<SomeBytes>(30, alive_)); });
  });
  EXPECT_EQ(table.offset(key(1)), 30U);
  parker.join();
}

TEST_F(Table, OneThatDoesNotLetGoIsNotWaitedForForEver) {
  PartialUploads table({.interrupt_wait = milliseconds(20)});
  int interrupts = 0;
  table.begin(key(1), this, [&] { ++interrupts; });
  EXPECT_EQ(table.offset(key(1)), std::nullopt);
  EXPECT_EQ(interrupts, 1);
}

TEST_F(Table, TheOldestGoesFirstWhenThereAreTooMany) {
  PartialUploads table({.most = 3});
  for (int n = 1; n <= 5; ++n) park(table, n);
  EXPECT_EQ(alive_, 3);
  for (int n = 1; n <= 5; ++n) EXPECT_EQ(table.parked_bytes(key(n)).has_value(), n > 2) << n;
}

TEST_F(Table, TheOldestGoesFirstWhenTheyAreTooLarge) {
  PartialUploads table({.most_bytes = 100});
  for (int n = 1; n <= 3; ++n) park(table, n, 40);
  EXPECT_EQ(table.parked_bytes(key(1)), std::nullopt);
  EXPECT_EQ(table.parked_bytes(key(2)), 40U);
  park(table, 4, 1000);
  EXPECT_EQ(alive_, 0) << "larger than all that may be kept";
}

TEST_F(Table, WhatIsTooOldGoesAlthoughNobodyAsks) {
  PartialUploads table({.keep = milliseconds(5)});
  park(table, 1);
  park(table, 2);
  while (alive_ > 0) std::this_thread::yield();  // or the test runs into its limit
  EXPECT_EQ(table.parked_bytes(key(1)), std::nullopt);
  EXPECT_EQ(table.parked().uploads, 0U);
}

TEST_F(Table, ParkedOnesCanBeLetGoOfAllAtOnce) {
  PartialUploads table;
  park(table, 1, 30);
  park(table, 2, 12);
  table.begin(key(3), this, [] {});
  EXPECT_EQ(table.parked().uploads, 2U);
  EXPECT_EQ(table.parked().bytes, 42U);
  table.drop_parked();
  EXPECT_EQ(alive_, 0);
  EXPECT_EQ(table.parked().uploads, 0U);
  table.park(key(3), this, std::make_unique<SomeBytes>(5, alive_));
  EXPECT_EQ(table.parked_bytes(key(3)), 5U) << "it was active, and is parked later";
}

class PartialUpload : public ServiceTest {
 protected:
  Request patch(const TestRecording& recording, const std::string& name, std::string_view whole,
                const std::string& offset) {
    Request r = request("PATCH", recording, name);
    r.headers.repr_digest = digest_header(whole);
    r.headers.content_type = wire::kPartialUploadType;
    r.headers.upload_offset = offset;
    r.headers.upload_complete = "?1";
    return r;
  }
  // PUT whose connection breaks after `part` of it.
  void put_part(const TestRecording& recording, const std::string& name, std::string_view whole, std::size_t part) {
    Request r = request("PUT", recording, name);
    r.headers.repr_digest = digest_header(whole);
    auto begun = service_->begin_upload(r, [] {});
    const auto upload = std::get<std::unique_ptr<Upload>>(std::move(begun));
    EXPECT_FALSE(upload->write(as_bytes(whole.substr(0, part / 2))));
    upload->park(as_bytes(whole.substr(part / 2, part - part / 2)));
  }
  Response ask(const TestRecording& recording, const std::string& name, std::string_view whole) {
    Request r = request("HEAD", recording, name);
    r.headers.repr_digest = digest_header(whole);
    return service_->handle(r);
  }

  TestRecording recording_;
  static constexpr char kChunk[] = "chunk_000001.m4s";
  static constexpr char kWhole[] = "media of chunk 1";
};

TEST_F(PartialUpload, GoesOnWhereItStopped) {
  put_part(recording_, kChunk, kWhole, 6);
  EXPECT_EQ(get(recording_, kChunk).status, 404) << "a part is visible";
  const Response asked = ask(recording_, kChunk, kWhole);
  EXPECT_EQ(asked.status, 204);
  EXPECT_EQ(header(asked, "Upload-Offset"), "6");
  EXPECT_EQ(header(asked, "Upload-Complete"), "?0");
  EXPECT_EQ(header(asked, "Cache-Control"), "no-store");
  const Response stored = send(patch(recording_, kChunk, kWhole, "6"), std::string_view(kWhole).substr(6));
  EXPECT_EQ(stored.status, 201) << stored.body;
  EXPECT_EQ(header(stored, "Upload-Complete"), "?1");
  EXPECT_EQ(on_disk(kChunk), kWhole);
  EXPECT_EQ(ask(recording_, kChunk, kWhole).status, 200);
}

TEST_F(PartialUpload, IsFoundByExactlyTheSameFileOfTheSameRecording) {
  put_part(recording_, kChunk, kWhole, 6);
  EXPECT_EQ(ask(recording_, kChunk, "other bytes").status, 404);
  EXPECT_EQ(ask(recording_, "chunk_000002.m4s", kWhole).status, 404);
  TestRecording stranger;
  stranger.id = std::string(32, 'f');
  EXPECT_EQ(ask(stranger, kChunk, kWhole).status, 404);
  EXPECT_EQ(service_->handle(request("HEAD", recording_, kChunk)).status, 404) << "without a digest";
}

TEST_F(PartialUpload, AnotherOffsetIsAConflictThatSaysTheRightOne) {
  put_part(recording_, kChunk, kWhole, 6);
  for (const char* offset : {"5", "7", "0"}) {
    const Response refused = send(patch(recording_, kChunk, kWhole, offset), "x");
    EXPECT_EQ(refused.status, 409);
    EXPECT_EQ(type_of(refused), "mismatching-upload-offset");
    EXPECT_EQ(header(refused, "Upload-Offset"), "6");
  }
  EXPECT_EQ(send(patch(recording_, kChunk, kWhole, "6"), std::string_view(kWhole).substr(6)).status, 201);
}

TEST_F(PartialUpload, WhatIsNoRestIsRefused) {
  put_part(recording_, kChunk, kWhole, 6);
  Request r = patch(recording_, kChunk, kWhole, "6");
  r.headers.content_type = "application/octet-stream";
  EXPECT_EQ(type_of(send(r, "x")), "partial-upload-type");
  for (const char* offset : {"", "-1", "6, 6", "6.0", "+6", "9999999999999999"}) {
    EXPECT_EQ(type_of(send(patch(recording_, kChunk, kWhole, offset), "x")), "partial-upload") << offset;
  }
  r = patch(recording_, kChunk, kWhole, "6");
  r.headers.upload_complete = "?0";
  EXPECT_EQ(type_of(send(r, "x")), "partial-upload");
  EXPECT_EQ(send(patch(recording_, "receipt-0123456789abcdef", kWhole, "6"), "x").status, 405);
}

TEST_F(PartialUpload, WrongBytesInTheRestStoreNothingAndAreForgotten) {
  put_part(recording_, kChunk, kWhole, 6);
  const Response refused = send(patch(recording_, kChunk, kWhole, "6"), "something else");
  EXPECT_EQ(type_of(refused), "digest-mismatch");
  EXPECT_EQ(header(refused, "Upload-Complete"), "?1");
  EXPECT_EQ(ask(recording_, kChunk, kWhole).status, 404);
  EXPECT_EQ(put(recording_, kChunk, kWhole).status, 201);
}

TEST_F(PartialUpload, AFreshStartTakesItsPlace) {
  put_part(recording_, kChunk, kWhole, 6);
  put_part(recording_, kChunk, kWhole, 3);
  EXPECT_EQ(header(ask(recording_, kChunk, kWhole), "Upload-Offset"), "3");
  EXPECT_EQ(put(recording_, kChunk, kWhole).status, 201);
  EXPECT_EQ(send(patch(recording_, kChunk, kWhole, "3"), "x").status, 409);
}

TEST_F(PartialUpload, ARestartedServerKnowsNothingOfItAndNothingIsLeft) {
  put_part(recording_, kChunk, kWhole, 6);
  start();
  EXPECT_EQ(ask(recording_, kChunk, kWhole).status, 404);
  EXPECT_EQ(send(patch(recording_, kChunk, kWhole, "6"), std::string_view(kWhole).substr(6)).status, 409);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_ / "store")) {
    files += entry.is_regular_file() && entry.path().filename() != ".lock" ? 1 : 0;
  }
  EXPECT_EQ(files, 0U);
}

// The audit is the answer to the manifest's last byte, also of a manifest that had to go on.
TEST_F(PartialUpload, AManifestGoesOnToo) {
  put_files(recording_);
  EXPECT_FALSE(audit(recording_, recording_.open_manifest).closed);
  put_part(recording_, "manifest", recording_.manifest, 100);
  EXPECT_EQ(header(ask(recording_, "manifest", recording_.manifest), "Upload-Offset"), "100")
      << "an earlier one is held, and this one is on its way";
  const Request rest = patch(recording_, "manifest", recording_.manifest, "100");
  EXPECT_TRUE(is_long_job(rest));
  const Response answer = send(rest, std::string_view(recording_.manifest).substr(100));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_TRUE(wire::parse_audit_answer(answer.body)->synced);
}

TEST_F(PartialUpload, TheOffsetIsSaidOnlyAfterTheFlush) {
  WatchedFileSystem fs(directory_ / "watched");
  auto store = store::FileStore::open(fs, directory_ / "watched", no_log()).value();
  store::HeldIndex index(*store, no_log());
  Service service(*store, index, key_, public_key_, metrics_, no_log());
  const auto offset_of_parked = [&] {
    Request r = request("PUT", recording_, kChunk);
    r.headers.repr_digest = digest_header(kWhole);
    std::get<std::unique_ptr<Upload>>(service.begin_upload(r, [] {}))->park(as_bytes("media"));
    r.method = "HEAD";
    return header(service.handle(r), "Upload-Offset");
  };
  int failed_writes = 0, failed_syncs = 0;
  for (std::size_t n = 1; n < 6; ++n) {
    fs.fail_at(100, EIO);
    EXPECT_EQ(offset_of_parked(), "5");  // given up by the next one: the same steps each time
    fs.fail_at(n, EIO);
    const std::string offset = offset_of_parked();
    const auto log = fs.take_log();
    const std::string failed = n < log.size() ? log[n] : "";
    const bool was_write = failed.starts_with("write"), was_sync = failed.starts_with("sync_data");
    failed_writes += was_write ? 1 : 0;
    failed_syncs += was_sync ? 1 : 0;
    EXPECT_EQ(offset, was_write || was_sync ? "" : "5") << failed;
  }
  EXPECT_EQ(failed_writes, 1);
  EXPECT_EQ(failed_syncs, 1);
}

}  // namespace
}  // namespace mc::server
