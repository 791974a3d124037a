#include <gtest/gtest.h>

#include "base/clock.hpp"
#include "wire/receipt.hpp"

namespace mc::wire {
namespace {

Receipt sample() {
  Receipt receipt;
  receipt.recording_id = "0123456789abcdef0123456789abcdef";
  receipt.path = {"studio-a", "001", "alice"};
  receipt.root = std::string(64, 'a');
  receipt.manifest_sha256 = std::string(64, 'b');
  receipt.files = 61;
  receipt.chunks = 60;
  receipt.bytes = 48123456;
  receipt.wall_ns = parse_utc("2026-11-22T10:01:00.000000000Z").value();
  receipt.key_fingerprint = "0011223344556677";
  receipt.signature_base64 = std::string(86, 'A') + "==";
  return receipt;
}

// The golden text of version 1: a receipt of today must be readable for ever.
constexpr char kGolden[] =
    "maycast-receipt 1\n"
    "recording 0123456789abcdef0123456789abcdef\n"
    "path studio-a/001/alice\n"
    "root aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
    "manifest bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n"
    "files 61\n"
    "chunks 60\n"
    "bytes 48123456\n"
    "time 2026-11-22T10:01:00.000000000Z\n"
    "key 0011223344556677\n"
    "signature "
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n";

TEST(Receipt, HasTheGoldenText) {
  EXPECT_EQ(format_receipt(sample()), kGolden);
  const auto parsed = parse_receipt(kGolden);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, sample());
}

TEST(Receipt, SignatureIsOverEveryByteBeforeItsLine) {
  const std::string text = format_receipt(sample());
  const std::string part = signed_part(sample());
  EXPECT_EQ(text.substr(0, part.size()), part);
  EXPECT_TRUE(std::string_view(text).substr(part.size()).starts_with("signature "));
}

TEST(Receipt, KeepsNamesInAnyScript) {
  Receipt receipt = sample();
  receipt.path = {"スタジオ a", "001", "アリス %=x"};
  const auto parsed = parse_receipt(format_receipt(receipt));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, receipt);
}

TEST(Receipt, TruncatedAnywhereIsDamaged) {
  const std::string text = kGolden;
  for (std::size_t n = 0; n < text.size(); ++n) {
    const auto parsed = parse_receipt(std::string_view(text).substr(0, n));
    ASSERT_FALSE(parsed) << n;
    EXPECT_EQ(parsed.error().kind, ErrorKind::damaged);
  }
}

// Whatever byte is changed, the text is refused or says something else: two texts never read as one receipt.
TEST(Receipt, NoTwoTextsReadTheSame) {
  for (std::size_t i = 0; i < sizeof kGolden - 1; ++i) {
    std::string text = kGolden;
    for (const int bit : {0, 3, 5}) {
      text[i] = static_cast<char>(kGolden[i] ^ 1 << bit);
      const auto parsed = parse_receipt(text);
      EXPECT_FALSE(parsed && *parsed == sample()) << i;
    }
  }
}

TEST(Receipt, OtherSpellingsAreDamaged) {
  const auto with = [](std::string_view from, std::string_view to) {
    std::string text = kGolden;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  for (const std::string& text :
       {with("files 61", "files 061"), with("files 61", "files +61"), with("files 61", "files  61"),
        with(".000000000Z", "Z"), with("studio-a", "studio%2Da"), with("studio-a", "..%2F.."), with("/001/", "/1/"),
        with("receipt 1", "receipt 2"), with("files 61\nchunks 60", "chunks 60\nfiles 61"), std::string(kGolden) + "\n",
        std::string(kGolden) + kGolden, with("bytes 48123456", "bytes 99999999999999999999999")}) {
    const auto parsed = parse_receipt(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind, ErrorKind::damaged);
    EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace mc::wire
