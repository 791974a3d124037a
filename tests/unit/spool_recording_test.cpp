#include <gtest/gtest.h>

#include <functional>

#include "digest/sha256.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

ByteBuffer bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::string small_manifest() {
  std::string text = wire::header_line() +
                     wire::recording_line("0123456789abcdef0123456789abcdef", {"studio-a", "001", "alice"}) +
                     wire::init_lines({{1}, 10, {{1, "audio", 48000, 1024, "opus"}}}, std::string(64, 'a')) +
                     wire::chunk_lines({{1}, 20, {0, 48000}, {48000, 48000}, 0, 47, {1}}, std::string(64, 'b'));
  return text + wire::end_line(1, digest::sha256_hex(as_bytes(text)));
}

wire::Receipt receipt_for(const LoadedManifest& loaded) {
  wire::Receipt receipt;
  receipt.recording_id = loaded.manifest.recording_id;
  receipt.path = *loaded.manifest.path;
  receipt.root = loaded.manifest.end->root;
  receipt.manifest_sha256 = digest::sha256_hex(loaded.bytes);
  receipt.files = 2;
  receipt.chunks = 1;
  receipt.bytes = 30;
  receipt.wall_ns = 1'700'000'000'000'000'000;
  return receipt;
}

void sign(wire::Receipt& receipt, const digest::PrivateKey& key) {
  receipt.key_fingerprint = key.public_key()->fingerprint();
  receipt.signature_base64 = digest::to_base64(*key.sign(as_bytes(wire::signed_part(receipt))));
}

TEST(Manifest, RootMatchesOnlyTheBytesBeforeTheEndLine) {
  std::string text = small_manifest();
  EXPECT_TRUE(load_manifest_bytes(bytes_of(text)).root_matches);
  EXPECT_FALSE(load_manifest_bytes(bytes_of(text.substr(0, text.rfind("# end")))).root_matches);
  for (std::size_t i = 0; i < text.rfind("# end"); ++i) {
    std::string flipped = text;
    flipped[i] = static_cast<char>(flipped[i] ^ 4);
    EXPECT_FALSE(load_manifest_bytes(bytes_of(flipped)).root_matches) << i;
  }
}

TEST(Manifest, NoDirectoryIsNotFound) {
  const auto loaded = load_manifest(sys::real_file_system(), "/nonexistent/recording");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind, ErrorKind::not_found);
}

TEST(HashFile, IsThatOfTheWholeFileAtEveryLengthAroundThePieces) {
  const std::string path = testing::TempDir() + "hash_file";
  for (const std::size_t size : {0UL, 1UL, 524'287UL, 524'288UL, 524'289UL, 1'048'576UL, 1'300'000UL}) {
    ByteBuffer bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
    ASSERT_TRUE(sys::stage_file(sys::real_file_system(), path, bytes));
    const auto hash = hash_file(sys::real_file_system(), path);
    ASSERT_TRUE(hash);
    EXPECT_EQ(hash->bytes, size);
    EXPECT_EQ(hash->sha256, digest::sha256_hex(bytes));
  }
  EXPECT_EQ(hash_file(sys::real_file_system(), path + ".none").error().kind, ErrorKind::not_found);
}

TEST(Receipt, ATrueOneIsBelieved) {
  const auto key = *digest::PrivateKey::generate();
  const auto loaded = load_manifest_bytes(bytes_of(small_manifest()));
  auto receipt = receipt_for(loaded);
  sign(receipt, key);
  const auto status = check_receipt(receipt, loaded, *key.public_key());
  EXPECT_TRUE(status) << status.error().message;
}

TEST(Receipt, EveryUntruePartIsNamed) {
  const auto key = *digest::PrivateKey::generate();
  const auto loaded = load_manifest_bytes(bytes_of(small_manifest()));
  const std::vector<std::pair<const char*, std::function<void(wire::Receipt&)>>> lies = {
      {"is for recording", [](wire::Receipt& r) { r.recording_id[0] = 'f'; }},
      {"is for 'studio-b", [](wire::Receipt& r) { r.path.session = "studio-b"; }},
      {"is for 'studio-a/001/bob'", [](wire::Receipt& r) { r.path.guest = "bob"; }},
      {"is for 'studio-a/001/alice~'", [](wire::Receipt& r) { r.path.guest = "alice~"; }},
      {"another root", [](wire::Receipt& r) { r.root[0] = r.root[0] == '0' ? '1' : '0'; }},
      {"another manifest", [](wire::Receipt& r) { r.manifest_sha256[0] = r.manifest_sha256[0] == '0' ? '1' : '0'; }},
      {"counts", [](wire::Receipt& r) { --r.files; }},
      {"counts", [](wire::Receipt& r) { ++r.chunks; }},
      {"counts", [](wire::Receipt& r) { ++r.bytes; }},
  };
  for (const auto& [words, lie] : lies) {
    auto receipt = receipt_for(loaded);
    lie(receipt);
    sign(receipt, key);
    const auto status = check_receipt(receipt, loaded, *key.public_key());
    ASSERT_FALSE(status) << words;
    EXPECT_EQ(status.error().kind, ErrorKind::damaged);
    EXPECT_NE(status.error().message.find(words), std::string::npos) << status.error().message;
  }
}

TEST(Receipt, OfAGuestWhoseNameWasTakenIsBelieved) {
  const auto key = *digest::PrivateKey::generate();
  const auto loaded = load_manifest_bytes(bytes_of(small_manifest()));
  auto receipt = receipt_for(loaded);
  receipt.path.guest = "alice~12";
  sign(receipt, key);
  EXPECT_TRUE(check_receipt(receipt, loaded, *key.public_key()));
}

TEST(Receipt, ChangedAfterSigningOrSignedByAnotherIsNot) {
  const auto key = *digest::PrivateKey::generate();
  const auto other = *digest::PrivateKey::generate();
  const auto loaded = load_manifest_bytes(bytes_of(small_manifest()));
  auto receipt = receipt_for(loaded);
  sign(receipt, key);
  EXPECT_FALSE(check_receipt(receipt, loaded, *other.public_key()));
  auto changed = receipt;
  ++changed.wall_ns;
  EXPECT_FALSE(check_receipt(changed, loaded, *key.public_key()));
  auto forged = receipt;
  sign(forged, other);
  forged.key_fingerprint = receipt.key_fingerprint;
  EXPECT_FALSE(check_receipt(forged, loaded, *key.public_key()));
  auto broken = receipt;
  broken.signature_base64 = "AAAA";
  EXPECT_FALSE(check_receipt(broken, loaded, *key.public_key()));
}

TEST(Receipt, OfAnOpenRecordingIsNone) {
  const auto key = *digest::PrivateKey::generate();
  const std::string text = small_manifest();
  const auto closed = load_manifest_bytes(bytes_of(text));
  auto receipt = receipt_for(closed);
  sign(receipt, key);
  const auto open = load_manifest_bytes(bytes_of(text.substr(0, text.rfind("# end"))));
  EXPECT_FALSE(check_receipt(receipt, open, *key.public_key()));
}

}  // namespace
}  // namespace mc::spool
