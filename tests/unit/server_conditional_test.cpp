#include <gtest/gtest.h>

#include "server/conditional.hpp"

namespace mc::server {
namespace {

const std::string kTag = entity_tag(std::string(64, 'a'));

struct Case {
  const char* range;
  int status;
  std::uint64_t first, length;
};

Selection ranged(const char* range, std::uint64_t size) {
  RequestHeaders headers;
  headers.range = range;
  return select(headers, kTag, size);
}

TEST(Conditional, SingleRangesOfTenBytes) {
  for (const Case& c :
       {Case{"bytes=0-0", 206, 0, 1}, Case{"bytes=0-", 206, 0, 10}, Case{"bytes=3-5", 206, 3, 3},
        Case{"bytes=3-99999999999999999999999", 206, 3, 7}, Case{"bytes=9-9", 206, 9, 1}, Case{"bytes=-1", 206, 9, 1},
        Case{"bytes=-10", 206, 0, 10}, Case{"bytes=-99", 206, 0, 10}, Case{"bytes=10-", 416, 0, 0},
        Case{"bytes=10-20", 416, 0, 0}, Case{"bytes=99999999999999999999999-", 416, 0, 0}, Case{"bytes=-0", 416, 10, 0},
        Case{" bytes=3-5 ", 206, 3, 3}}) {
    const Selection got = ranged(c.range, 10);
    EXPECT_EQ(got.status, c.status) << c.range;
    if (c.status == 206) {
      EXPECT_EQ(got.first, c.first) << c.range;
    }
    EXPECT_EQ(got.length, c.length) << c.range;
  }
}

TEST(Conditional, WhatIsNotUnderstoodIsAnsweredWithTheWhole) {
  for (const char* range : {"", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "bytes=1-2,4-5", "items=0-1",
                            "bytes=0x1-2", "bytes=+1-2", "bytes= - ", "bytes=1--2"}) {
    const Selection got = ranged(range, 10);
    EXPECT_EQ(got.status, 200) << range;
    EXPECT_EQ(got.length, 10U) << range;
  }
}

TEST(Conditional, NothingCanBeCutFromAnEmptyFile) {
  EXPECT_EQ(ranged("bytes=0-", 0).status, 416);
  EXPECT_EQ(ranged("bytes=-5", 0).status, 416);
  EXPECT_EQ(select({}, kTag, 0).status, 200);
}

TEST(Conditional, KnownTagIsNotModified) {
  RequestHeaders headers;
  for (const std::string& list : {kTag, "W/" + kTag, "\"x\", " + kTag, std::string("*")}) {
    headers.if_none_match = list;
    EXPECT_EQ(select(headers, kTag, 10).status, 304) << list;
  }
  headers.if_none_match = "\"x\"";
  EXPECT_EQ(select(headers, kTag, 10).status, 200);
}

TEST(Conditional, RangeCountsOnlyForTheSameBytes) {
  RequestHeaders headers;
  headers.range = "bytes=2-3";
  headers.if_range = kTag;
  EXPECT_EQ(select(headers, kTag, 10).status, 206);
  for (const std::string& other : {std::string("\"x\""), "W/" + kTag, std::string("Sun, 22 Nov 2026 10:00:00 GMT")}) {
    headers.if_range = other;
    EXPECT_EQ(select(headers, kTag, 10).status, 200) << other;
  }
}

}  // namespace
}  // namespace mc::server
