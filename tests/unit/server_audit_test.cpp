#include <algorithm>
#include <thread>

#include "unit/server_recording.hpp"

namespace mc::server {
namespace {

using Audits = ServiceTest;
using Faults = std::vector<wire::AuditFault>;

bool verifies(const wire::Receipt& receipt, const digest::PublicKey& key) {
  const auto raw = digest::from_base64(receipt.signature_base64);
  digest::Signature signature{};
  if (!raw || raw->size() != signature.size()) return false;
  std::ranges::copy(*raw, signature.begin());
  return key.verifies(as_bytes(wire::signed_part(receipt)), signature);
}

TEST_F(Audits, WholeRecordingGetsItsReceipt) {
  const TestRecording recording;
  put_files(recording);
  const wire::AuditAnswer answer = audit(recording, recording.manifest);
  EXPECT_TRUE(answer.closed);
  EXPECT_TRUE(answer.synced);
  EXPECT_EQ(answer.faults, Faults{});
  const auto receipt = wire::parse_receipt(answer.receipt);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_TRUE(verifies(*receipt, public_key_));
  EXPECT_EQ(receipt->recording_id, recording.id);
  EXPECT_EQ(receipt->path, recording.path);
  EXPECT_EQ(receipt->root, digest::sha256_hex(as_bytes(recording.open_manifest)));
  EXPECT_EQ(receipt->manifest_sha256, digest::sha256_hex(as_bytes(recording.manifest)));
  EXPECT_EQ(receipt->files, 4U);
  EXPECT_EQ(receipt->chunks, 3U);
  EXPECT_EQ(on_disk(wire::receipt_name(public_key_.fingerprint())), answer.receipt);
  EXPECT_EQ(on_disk("manifest"), recording.manifest);
}

TEST_F(Audits, ReceiptIsTheSameEverAfter) {
  const TestRecording recording;
  put_files(recording);
  const std::string receipt = audit(recording, recording.manifest).receipt;
  EXPECT_EQ(audit(recording, recording.manifest).receipt, receipt);
  start();
  EXPECT_EQ(audit(recording, recording.manifest).receipt, receipt);
}

// The manifest may come first, and the files in any order (never-lose L11).
TEST_F(Audits, MissingFilesAreNamedUntilTheyAreThere) {
  const TestRecording recording;
  EXPECT_EQ(audit(recording, recording.manifest).faults.size(), 4U);
  put(recording, "chunk_000003.m4s", recording.files.at("chunk_000003.m4s"));
  put(recording, "init_001.mp4", recording.files.at("init_001.mp4"));
  const wire::AuditAnswer answer = audit(recording, recording.manifest);
  EXPECT_FALSE(answer.synced);
  EXPECT_EQ(answer.receipt, "");
  EXPECT_EQ(answer.faults, (Faults{{"chunk_000001.m4s", "missing"}, {"chunk_000002.m4s", "missing"}}));
  put(recording, "chunk_000001.m4s", recording.files.at("chunk_000001.m4s"));
  put(recording, "chunk_000002.m4s", recording.files.at("chunk_000002.m4s"));
  EXPECT_TRUE(audit(recording, recording.manifest).synced);
}

// never-lose F1: the total comes only from the closed manifest.
TEST_F(Audits, OpenManifestIsNeverSynced) {
  const TestRecording recording;
  put_files(recording);
  const wire::AuditAnswer answer = audit(recording, recording.open_manifest);
  EXPECT_FALSE(answer.closed);
  EXPECT_FALSE(answer.synced);
  EXPECT_EQ(answer.faults, Faults{});
}

// never-lose F4.
TEST_F(Audits, EmptyRecordingIsNeverSynced) {
  const TestRecording recording(0);
  const wire::AuditAnswer answer = audit(recording, recording.manifest);
  EXPECT_TRUE(answer.closed);
  EXPECT_FALSE(answer.synced);
  EXPECT_EQ(answer.receipt, "");
}

// Issue 4: Synced cannot come from memory. With the server kept running, and restarted.
TEST_F(Audits, SyncedIsComputedFromWhatTheStoreHolds) {
  for (const bool restarted : {false, true}) {
    SCOPED_TRACE(restarted);
    std::filesystem::remove_all(directory_ / "store/studio-a");
    start();
    const TestRecording recording(4);
    put_files(recording);
    for (const auto& [name, text] : recording.files) (void)get(recording, name);  // so that the index has seen them
    std::filesystem::remove(file("chunk_000001.m4s"));
    std::string flipped = recording.files.at("chunk_000002.m4s");
    flipped[3] = static_cast<char>(flipped[3] ^ 1);
    overwrite("chunk_000002.m4s", flipped);
    std::filesystem::copy_file(file("chunk_000003.m4s"), file("other"));
    overwrite("other", std::string(recording.files.at("chunk_000003.m4s").size(), 'x'));
    std::filesystem::rename(file("other"), file("chunk_000003.m4s"));
    overwrite("chunk_000004.m4s", "longer than it was before");
    if (restarted) start();
    const Faults faults = audit(recording, recording.manifest).faults;
    EXPECT_EQ(faults, (Faults{{"chunk_000001.m4s", "missing"},
                              {"chunk_000002.m4s", "damaged"},
                              {"chunk_000003.m4s", "damaged"},
                              {"chunk_000004.m4s", "damaged"}}));
    // What is sent again takes the place of what rotted; what rotted is kept.
    for (const auto& fault : faults) EXPECT_EQ(put(recording, fault.name, recording.files.at(fault.name)).status, 201);
    EXPECT_TRUE(audit(recording, recording.manifest).synced);
    EXPECT_EQ(on_disk(".damaged-chunk_000002.m4s-" + digest::sha256_hex(as_bytes(flipped)).substr(0, 16)), flipped);
  }
}

TEST_F(Audits, DamageAfterSyncedIsStillFound) {
  const TestRecording recording;
  put_files(recording);
  EXPECT_TRUE(audit(recording, recording.manifest).synced);
  std::filesystem::remove(file("init_001.mp4"));
  const wire::AuditAnswer answer = audit(recording, recording.manifest);
  EXPECT_FALSE(answer.synced);
  EXPECT_EQ(answer.faults, (Faults{{"init_001.mp4", "missing"}}));
}

TEST_F(Audits, OpenManifestGrows) {
  const TestRecording recording;
  std::size_t at = recording.open_manifest.find("# chunk 1");
  audit(recording, recording.open_manifest.substr(0, at));
  at = recording.open_manifest.find("# chunk 3");
  audit(recording, recording.open_manifest.substr(0, at));
  put_files(recording);
  EXPECT_TRUE(audit(recording, recording.manifest).synced);
}

TEST_F(Audits, ManifestNeverShrinksNorChanges) {
  const TestRecording recording;
  audit(recording, recording.open_manifest);
  const std::string shorter = recording.open_manifest.substr(0, recording.open_manifest.find("# chunk 3"));
  EXPECT_EQ(type_of(put(recording, "manifest", shorter)), "conflict");
  const std::string other = shorter + wire::note_line({"mark", {{"t", "1/1"}}});
  EXPECT_EQ(put(recording, "manifest", other).status, 409);
  EXPECT_EQ(on_disk("manifest"), recording.open_manifest);
}

TEST_F(Audits, ClosedManifestIsForGood) {
  const TestRecording recording;
  const TestRecording longer(4);
  audit(recording, recording.manifest);
  EXPECT_EQ(type_of(put(recording, "manifest", longer.manifest)), "conflict");
  EXPECT_EQ(type_of(put(recording, "manifest", recording.open_manifest)), "conflict");
  EXPECT_EQ(on_disk("manifest"), recording.manifest);
}

TEST_F(Audits, DamagedManifestIsNotStored) {
  const TestRecording recording;
  put_files(recording);
  const std::string good = recording.manifest;
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    const Response response = put(recording, "manifest", bad);
    ASSERT_EQ(response.status, 400) << "byte " << i;
    EXPECT_NE(response.body.find("manifest"), std::string::npos);
  }
  for (const std::string& bad : {std::string(), std::string("hello\n"), good.substr(0, good.size() - 1),
                                 good.substr(good.find('\n') + 1), good + good, good + "# more crc=00000000\n"}) {
    EXPECT_EQ(put(recording, "manifest", bad).status, 400);
  }
  EXPECT_FALSE(std::filesystem::exists(file("manifest")));
  EXPECT_TRUE(audit(recording, recording.manifest).synced);
}

// Lines that are each whole, and together say what is not so.
TEST_F(Audits, LyingManifestIsNotStored) {
  const TestRecording recording;
  const std::string root = digest::sha256_hex(as_bytes(recording.open_manifest));
  EXPECT_EQ(put(recording, "manifest", recording.open_manifest + wire::end_line(2, root)).status, 400);
  EXPECT_EQ(put(recording, "manifest", recording.open_manifest + wire::end_line(3, std::string(64, '0'))).status, 400);
  TestRecording other;
  other.id = std::string(32, 'e');
  EXPECT_EQ(type_of(put(other, "manifest", recording.manifest)), "recording-mismatch");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "store/studio-a"));
}

TEST_F(Audits, RottenManifestInTheStoreIsReplacedAndKept) {
  const TestRecording recording;
  put_files(recording);
  audit(recording, recording.manifest);
  std::string rotten = recording.manifest;
  rotten[rotten.size() / 2] = static_cast<char>(rotten[rotten.size() / 2] ^ 1);
  overwrite("manifest", rotten);
  EXPECT_TRUE(audit(recording, recording.manifest).synced);
  EXPECT_EQ(on_disk("manifest"), recording.manifest);
  EXPECT_EQ(on_disk(".damaged-manifest-" + digest::sha256_hex(as_bytes(rotten)).substr(0, 16)), rotten);
}

TEST_F(Audits, ForgedReceiptInTheStoreIsReplacedAndKept) {
  const TestRecording recording;
  put_files(recording);
  const std::string good = audit(recording, recording.manifest).receipt;
  const std::string name = wire::receipt_name(public_key_.fingerprint());
  auto forged = wire::parse_receipt(good).value();
  forged.bytes += 1;
  overwrite(name, wire::format_receipt(forged));
  const wire::AuditAnswer answer = audit(recording, recording.manifest);
  ASSERT_TRUE(answer.synced);
  EXPECT_TRUE(verifies(*wire::parse_receipt(answer.receipt), public_key_));
  EXPECT_EQ(on_disk(name), answer.receipt);
}

TEST_F(Audits, RecordingCopiedIntoTheStoreByHandIsAccepted) {
  const TestRecording recording;
  std::filesystem::create_directories(directory_ / "store/studio-a/001/alice");
  for (const auto& [name, text] : recording.files) overwrite(name, text);
  overwrite("manifest", recording.manifest);
  EXPECT_TRUE(audit(recording, recording.manifest).synced);
  TestRecording other;
  other.id = std::string(32, 'e');
  EXPECT_EQ(type_of(put(other, "chunk_000004.m4s", "x")), "recording-taken");
}

// A store whose medium loses a bit of one file without a trace: its change token stays the same.
class RottingStore final : public store::Store {
 public:
  explicit RottingStore(store::Store& real) : real_(real) {}
  std::string rotten;  // the name

  Result<std::unique_ptr<store::Staged>> stage(const wire::RecordingPath& path, const std::string& name) override {
    return real_.stage(path, name);
  }
  Result<std::unique_ptr<store::Object>> open(const wire::RecordingPath& path, const std::string& name) override {
    MC_TRY_ASSIGN(auto object, real_.open(path, name));
    if (name != rotten) return object;
    return std::unique_ptr<store::Object>(std::make_unique<RottenObject>(std::move(object)));
  }
  Result<std::vector<store::ObjectInfo>> list(const wire::RecordingPath& path) override { return real_.list(path); }
  Status sync(const wire::RecordingPath& path) override { return real_.sync(path); }
  Result<std::vector<std::string>> recordings(const std::string& session, const std::string& take) override {
    return real_.recordings(session, take);
  }
  Result<std::optional<store::Document>> read_document(const std::string& session) override {
    return real_.read_document(session);
  }
  Result<bool> swap_document(const std::string& session, const std::optional<std::string>& expected,
                             std::string_view text) override {
    return real_.swap_document(session, expected, text);
  }
  Result<std::uint64_t> free_bytes() override { return real_.free_bytes(); }
  Status ready() override { return real_.ready(); }

 private:
  class RottenObject final : public store::Object {
   public:
    explicit RottenObject(std::unique_ptr<store::Object> real) : real_(std::move(real)) {}
    const store::ObjectInfo& info() const override { return real_->info(); }
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> into) override {
      MC_TRY_ASSIGN(const std::size_t n, real_->read_at(offset, into));
      if (offset == 0 && n > 0) into[0] ^= 1U;
      return n;
    }
    Status settle() override { return real_->settle(); }

   private:
    std::unique_ptr<store::Object> real_;
  };
  store::Store& real_;
};

TEST_F(Audits, InFullReadsEverythingAgainAndFindsWhatNoTokenTells) {
  const TestRecording recording;
  put_files(recording);
  RottingStore rotting(*store_);
  service_.reset();
  index_.emplace(rotting, no_log());
  service_.emplace(rotting, *index_, key_, public_key_, metrics_, no_log());
  const auto is_settled = [&] {
    return std::ranges::all_of(store_->list(recording.path).value(), &store::ObjectInfo::settled);
  };
  while (!is_settled()) std::this_thread::yield();
  const auto ask = [&](const std::string& query) {
    Request r = request("PUT", recording, "manifest");
    r.target += query;
    r.headers.repr_digest = digest_header(recording.manifest);
    return send(r, recording.manifest);
  };
  EXPECT_TRUE(wire::parse_audit_answer(ask("").body)->synced);
  const std::uint64_t read = index_->files_read();
  EXPECT_TRUE(wire::parse_audit_answer(ask("").body)->synced);
  EXPECT_EQ(index_->files_read(), read) << "nothing has changed";
  EXPECT_TRUE(wire::parse_audit_answer(ask("?verify=full").body)->synced);
  EXPECT_GE(index_->files_read(), read + recording.files.size());

  rotting.rotten = "chunk_000002.m4s";
  EXPECT_TRUE(wire::parse_audit_answer(ask("").body)->synced) << "its token is the same";
  const auto in_full = wire::parse_audit_answer(ask("?verify=full").body);
  EXPECT_FALSE(in_full->synced);
  EXPECT_EQ(in_full->faults, (Faults{{"chunk_000002.m4s", "damaged"}}));
  EXPECT_FALSE(wire::parse_audit_answer(ask("").body)->synced) << "what was read is remembered";
  EXPECT_EQ(type_of(ask("?verify=fully")), "bad-request");
  service_.reset();
  index_.reset();  // before the store that it reads
}

}  // namespace
}  // namespace mc::server
