#include <gtest/gtest.h>

#include "mp4/box.hpp"
#include "mp4/fragment.hpp"
#include "mp4_material.hpp"

namespace mc::mp4 {
namespace {

using namespace material;

const Movie& movie() {
  static const Movie made = [] {
    Movie m{{picture_track(1), sound_track(2)}};
    m.tracks[0].descriptions.push_back(m.tracks[0].descriptions[0]);
    return m;
  }();
  return made;
}

// A moof of whole boxes, from hex of what stands in it.
ByteBuffer moof(std::string_view inside) {
  ByteBuffer out;
  {
    const BoxWriter box(out, fourcc("moof"));
    append(out, unhex(inside));
  }
  return out;
}

TEST(Fragment, APictureThatIsNotSyncAfterOneThatIsAreTheseBytes) {
  std::vector<Sample> samples = {sample(1, 0x1'0000'0000, 3000, 100), sample(1, 0x1'0000'0bb8, 3000, 101),
                                 sample(1, 0x1'0000'1770, 4500, 102)};
  for (Sample& s : samples) s.description = 2;
  samples[1].sync = samples[2].sync = false;
  samples[0].composition_offset = samples[2].composition_offset = 3000;
  samples[1].composition_offset = -3000;
  ByteBuffer out;
  ASSERT_TRUE(write_fragment_header(7, samples, out));
  EXPECT_EQ(out, unhex("0000008c 6d6f6f66"
                       "00000010 6d666864 00000000 00000007"                             // mfhd
                       "00000074 74726166"                                               // traf
                       "0000001c 74666864 0002002a 00000001 00000002 00000bb8 01010000"  // tfhd
                       "00000014 74666474 01000000 0000000100000000"                     // tfdt
                       "0000003c 7472756e 01000b05 00000003 00000094 02000000"           // trun
                       "  00000bb8 00000064 00000bb8  00000bb8 00000065 fffff448  00001194 00000066 00000bb8"
                       "00000137 6d646174"));
  const auto read = parse_moof(ByteView(out).first(0x8c), 1000, movie());
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 3U);
  std::uint64_t offset = 1000 + 0x94;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*read)[i].sample, samples[i]);
    EXPECT_EQ((*read)[i].offset, offset);
    offset += samples[i].size_bytes;
  }
}

TEST(Fragment, EveryMixOfSyncSamplesReadsBack) {
  for (unsigned mask = 0; mask < 32; ++mask) {
    std::vector<Sample> samples;
    for (unsigned i = 0; i < 5; ++i) {
      samples.push_back(sample(1, i * 3000, 3000, i));
      samples.back().sync = (mask >> i & 1) != 0;
    }
    ByteBuffer out;
    ASSERT_TRUE(write_fragment_header(1, samples, out));
    const auto read = parse_moof(ByteView(out).first(static_cast<std::size_t>(load_be(out.data(), 4))), 0, movie());
    ASSERT_TRUE(read);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ((*read)[i].sample, samples[i]) << mask;
  }
}

TEST(Fragment, SamplesThatDoNotFollowOneAnotherAreOurBug) {
  ByteBuffer out;
  EXPECT_EQ(write_fragment_header(1, {}, out).error().kind, ErrorKind::bug);
  for (const Sample& second : {sample(1, 3001, 1, 1), sample(2, 3000, 1, 1)}) {
    const std::vector<Sample> samples = {sample(1, 0, 3000, 1), second};
    EXPECT_EQ(write_fragment_header(1, samples, out).error().kind, ErrorKind::bug);
  }
  EXPECT_TRUE(out.empty());
}

TEST(Fragment, MoreThanFourGigabytesGetTheLongMdatHeader) {
  const std::vector<Sample> samples = {sample(1, 0, 1, 0xffffffff), sample(1, 1, 1, 0xffffffff)};
  ByteBuffer out;
  ASSERT_TRUE(write_fragment_header(1, samples, out));
  const auto tail = ByteView(out).last(16);
  EXPECT_EQ(ByteBuffer(tail.begin(), tail.end()), unhex("00000001 6d646174 000000020000000e"));
  const auto read = parse_moof(ByteView(out).first(static_cast<std::size_t>(load_be(out.data(), 4))), 0, movie());
  EXPECT_EQ(read->front().offset, out.size());
}

// 14496-12 8.8.7.1, 8.8.8.1: where the data of other programs' runs lie.
TEST(Moof, DataFollowTheRunBeforeTheTrafBeforeOrAnAbsoluteBase) {
  const auto read = parse_moof(moof("00000044 74726166"
                                    "00000010 74666864 00000000 00000001"  // no base: the moof, as it is the first traf
                                    "0000001c 7472756e 00000201 00000002 000000c8 0000000a 0000000b"  // offset 200
                                    "00000010 74666474 00000000 00000005"
                                    "00000000"),
                               1000, movie());
  EXPECT_FALSE(read) << "what is left over in a traf is no box";

  const auto located = parse_moof(moof("00000054 74726166"
                                       "00000010 74666864 00000000 00000001"
                                       "00000010 74666474 00000000 00000005"
                                       "00000018 7472756e 00000201 00000001 000000c8 0000000a"
                                       "00000014 7472756e 00000200 00000001 0000000b"
                                       "00000034 74726166"
                                       "00000010 74666864 00000000 00000002"
                                       "0000001c 7472756e 00000301 00000001 00000004 00000007 0000000c"
                                       "0000003c 74726166"
                                       "0000001c 74666864 00000011 00000002 0000000012345678 00000003"
                                       "00000018 7472756e 00000101 00000001 fffffff8 00000009"),
                                  1000, movie());
  ASSERT_TRUE(located) << located.error().message;
  ASSERT_EQ(located->size(), 4U);
  EXPECT_EQ((*located)[0].offset, 1200U);
  EXPECT_EQ((*located)[1].offset, 1210U);
  EXPECT_EQ((*located)[2].offset, 1221U + 4);
  EXPECT_EQ((*located)[3].offset, 0x12345670U);
  EXPECT_EQ((*located)[1].sample.decode_time, 5U + 3000) << "trex's duration applies";
  EXPECT_EQ((*located)[3].sample.decode_time, 7U) << "a second traf of a track goes on where the first ended";
  EXPECT_EQ((*located)[3].sample.duration, 9U);
  EXPECT_EQ((*located)[3].sample.size_bytes, 3U);
}

TEST(Moof, WithoutTfdtTheTrackGoesOnWhereItStood) {
  const std::uint64_t ends[] = {7777, 8888};
  const auto read = parse_moof(moof("0000002c 74726166"
                                    "00000010 74666864 00020000 00000002"
                                    "00000014 7472756e 00000200 00000001 0000000b"),
                               0, movie(), ends);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->front().sample.decode_time, 8888U);
}

TEST(Moof, WhatCannotBeIsDamaged) {
  const std::string_view cases[] = {
      "00000018 74726166 00000010 74666864 00020000 00000009",           // no such track
      "0000001c 74726166 00000014 74666864 00020002 00000001 00000003",  // no such description
      "0000001c 74726166 00000014 74666864 00020002 00000001 00000000",  // description 0
      "0000001c 74726166 00000014 7472756e 00000200 00000001 0000000b",  // no tfhd
      "0000002c 74726166 00000010 74666864 00020000 00000001 00000014 7472756e 00000200 00000002 0000000b",  // too few
      "00000028 74726166 00000010 74666864 00020000 00000001 00000010 7472756e 00000000 00000001",           // no size
      "00000030 74726166 00000010 74666864 00020000 00000001 00000018 7472756e 00000a00 00000001 00000001 80000000",
      "0000002c 74726166 00000010 74666864 00020000 00000001 00000014 74666474 01000000 ffffffffffffffff",
      "0000002c 74726166 00000014 74666864 00020010 00000001 00000001 00000010 7472756e 00000000 ffffffff",  // too many
  };
  for (const auto inside : cases) {
    const auto read = parse_moof(moof(inside), 0, movie());
    ASSERT_FALSE(read) << inside;
    EXPECT_EQ(read.error().kind, ErrorKind::damaged);
  }
}

TEST(ProducerTime, RoundTripsToTheNanosecondAndAcrossTheEra) {
  for (const std::int64_t wall : {0LL, 1LL, 999'999'999LL, 1'795'341'600'123'456'789LL, 2'085'978'495'999'999'999LL,
                                  2'085'978'496'000'000'000LL, 4'000'000'000'000'000'001LL}) {
    ByteBuffer out;
    write_prft({3, 0x1'2345'6789, wall}, out);
    const auto read = parse_prft(out);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->wall_ns, wall);
    EXPECT_EQ(read->track_id, 3U);
    EXPECT_EQ(read->media_time, 0x1'2345'6789U);
  }
}

TEST(ProducerTime, TheEpochIsTheseBytes) {
  ByteBuffer out;
  write_prft({1, 48000, 500'000'000}, out);
  EXPECT_EQ(out, unhex("00000020 70726674 01000018 00000001 83aa7e80 80000000 000000000000bb80"));
}

TEST(Event, RoundTrips) {
  Event event;
  event.timescale = 90000;
  event.time = 1ULL << 40;
  event.id = 7;
  event.json = "{\"event\":\"mark\",\"name\":\"\xe5\xa7\x8b\"}";
  ByteBuffer out;
  write_emsg(event, out);
  const auto read = parse_emsg(out);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->scheme, kEventScheme);
  EXPECT_EQ(read->timescale, 90000U);
  EXPECT_EQ(read->time, 1ULL << 40);
  EXPECT_EQ(read->id, 7U);
  EXPECT_EQ(read->json, event.json);
  for (std::size_t n = 0; n < out.size(); ++n) EXPECT_FALSE(parse_emsg(ByteView(out).first(n)));
}

TEST(Event, VersionZeroHasItsStringsInFront) {
  const auto read =
      parse_emsg(unhex("00000024 656d7367 00000000 613a6200 3100 000003e8 0000000a 00000000 00000005 7b7d"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->scheme, "a:b");
  EXPECT_EQ(read->time, 10U);
  EXPECT_EQ(read->id, 5U);
  EXPECT_EQ(read->json, "{}");
}

}  // namespace
}  // namespace mc::mp4
