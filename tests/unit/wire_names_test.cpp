#include <gtest/gtest.h>

#include "wire/names.hpp"

namespace mc::wire {
namespace {

TEST(Names, GoodRecordingPaths) {
  for (const char* text : {"studio-a/001/alice", "s/999999999/a", "会議/001/花子", "a b/010/alice~2"}) {
    const auto path = parse_recording_path(text);
    ASSERT_TRUE(path) << text;
    EXPECT_EQ(path->text(), text);
  }
}

TEST(Names, HostileRecordingPathsAreRefused) {
  const std::string long_name(101, 'x');
  for (const std::string& text : std::vector<std::string>{"",
                                                          "/",
                                                          "//",
                                                          "a/001",
                                                          "a/001/",
                                                          "/001/a",
                                                          "a//b",
                                                          "../001/a",
                                                          "a/001/..",
                                                          "a/1/b",
                                                          "a/000/b",
                                                          "a/00x/b",
                                                          "a/001/.hidden",
                                                          "a/001/b/c",
                                                          "a/001/b\\c",
                                                          "a/001/b\n",
                                                          std::string("a/001/b\0c", 9),
                                                          "a/001/\xff\xfe",
                                                          "a/001/\xc0\xaf",
                                                          "a/0000000001/b",
                                                          "a/001/" + long_name}) {
    EXPECT_FALSE(parse_recording_path(text)) << text;
  }
}

TEST(Names, FileNamesRoundTrip) {
  EXPECT_EQ(init_name(InitNumber{1}), "init_001.mp4");
  EXPECT_EQ(chunk_name(ChunkNumber{1}), "chunk_000001.m4s");
  EXPECT_EQ(chunk_name(ChunkNumber{1234567}), "chunk_1234567.m4s");
  EXPECT_EQ(parse_file_name("chunk_1234567.m4s")->number, 1234567U);
  EXPECT_EQ(parse_file_name("init_012.mp4")->number, 12U);
  EXPECT_EQ(parse_file_name("manifest")->kind, FileKind::manifest);
  EXPECT_EQ(parse_file_name("receipt-0123456789abcdef")->key_fingerprint, "0123456789abcdef");
}

TEST(Names, OtherFileNamesAreNone) {
  for (const char* name : {"", ".lock", "chunk_00001.m4s", "chunk_0000001.m4s", "chunk_000000.m4s", "chunk_00000x.m4s",
                           "chunk_000001.m4s ", "../manifest", "Manifest", "init_1.mp4", "init_001.mp4x",
                           "receipt-0123", "receipt-0123456789ABCDEF", "chunk_99999999999.m4s", "chunk_-00001.m4s"}) {
    EXPECT_FALSE(parse_file_name(name)) << name;
  }
}

TEST(Names, PercentEncodingRoundTripsEveryByte) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
  EXPECT_EQ(percent_encode("a b/é"), "a%20b%2F%C3%A9");
  for (const char* bad : {"%", "%1", "%zz", "abc%4"}) EXPECT_FALSE(percent_decode(bad)) << bad;
}

TEST(Names, Utf8IsChecked) {
  EXPECT_TRUE(is_utf8("aé花😀"));
  for (const char* bad : {"\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

}  // namespace
}  // namespace mc::wire
