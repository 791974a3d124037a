#include <gtest/gtest.h>

#include "mp4/box.hpp"
#include "mp4/movie.hpp"
#include "mp4_material.hpp"

namespace mc::mp4 {
namespace {

using namespace material;

ByteBuffer written(const Movie& movie) {
  ByteBuffer out;
  write_init(movie, out);
  return out;
}

// Each box counted by hand against ISO/IEC 14496-12.
TEST(Init, SoundWithPrimingIsTheseBytes) {
  Track track = sound_track(1);
  track.media_time = 312;
  track.roll_distance = -4;
  const ByteBuffer golden = unhex(
      "00000018 66747970 69736f36 00000000 69736f36 6d703431"                  // ftyp
      "00000287 6d6f6f76"                                                      // moov
      "00000078 6d766864 01000000 0000000000000000 0000000000000000 000003e8"  // mvhd
      "  0000000000000000 00010000 0100 0000 0000000000000000"
      "  00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000"
      "  000000000000000000000000000000000000000000000000 00000002"
      "000001df 7472616b"                                                               // trak
      "00000068 746b6864 01000003 0000000000000000 0000000000000000 00000001 00000000"  // tkhd
      "  0000000000000000 0000000000000000 0000 0000 0100 0000"
      "  00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000"
      "  00000000 00000000"
      "0000002c 65647473 00000024 656c7374 01000000 00000001"  // edts, elst
      "  0000000000000000 0000000000000138 00010000"
      "00000143 6d646961"                                                      // mdia
      "0000002c 6d646864 01000000 0000000000000000 0000000000000000 0000bb80"  // mdhd
      "  0000000000000000 55c4 0000"
      "00000026 68646c72 00000000 00000000 736f756e 000000000000000000000000 736f756e6400"  // hdlr
      "000000e9 6d696e66"                                                                   // minf
      "00000010 736d6864 00000000 0000 0000"                                                // smhd
      "00000024 64696e66 0000001c 64726566 00000000 00000001 0000000c 75726c20 00000001"    // dinf
      "000000ad 7374626c"                                                                   // stbl
      "00000047 73747364 00000000 00000001"                                                 // stsd
      "  00000037 4f707573 000000000000 0001 0000000000000000 0001 0010 00000000 bb800000"  // Opus
      "  00000013 644f7073 00 01 0000 0000bb80 0000 00"                                     // dOps
      "00000010 73747473 00000000 00000000"                                                 // stts
      "00000010 73747363 00000000 00000000"                                                 // stsc
      "00000014 7374737a 00000000 00000000 00000000"                                        // stsz
      "00000010 7374636f 00000000 00000000"                                                 // stco
      "0000001a 73677064 01000000 726f6c6c 00000002 00000001 fffc"                          // sgpd
      "00000028 6d766578 00000020 74726578 00000000 00000001 00000001 000003c0 00000000 00000000");
  EXPECT_EQ(written({{track}}), golden);
}

TEST(Init, WhatIsWrittenReadsBack) {
  Movie movie{{picture_track(1), sound_track(2)}};
  movie.tracks[0].descriptions.push_back(movie.tracks[0].descriptions[0]);
  movie.tracks[0].descriptions[1].back() ^= 1;
  movie.tracks[0].media_time = 6000;
  movie.tracks[1].language = "jpn";
  movie.tracks[1].media_time = 1024;
  movie.tracks[1].empty_edit = 12345;
  movie.tracks[1].roll_distance = -1;
  const ByteBuffer bytes = written(movie);
  const auto read = parse_init(bytes);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, movie);
  EXPECT_EQ(written(*read), bytes);
  EXPECT_FALSE(has_own_samples(bytes));
}

TEST(Init, LeadingOffsetsOfTwoTimescalesStayExact) {
  for (const std::int64_t offset : {1, 3, 29, 44099, 1'000'003}) {
    Movie movie{{picture_track(1, 30000, 1001), sound_track(2)}};
    movie.tracks[1].timescale = 44100;
    movie.tracks[0].empty_edit = offset;
    movie.tracks[1].empty_edit = offset + 1;
    const auto read = parse_init(written(movie));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, movie);
  }
}

TEST(Init, PixelsThatAreNotSquareStretchTheShownSizeOnly) {
  CodecParameters parameters;
  parameters.codec = Codec::h264;
  parameters.extradata = kAvcC;
  parameters.sar_numerator = 4;
  parameters.sar_denominator = 3;
  Movie movie{{picture_track(1)}};
  movie.tracks[0].descriptions = {*make_sample_entry(parameters, {})};
  const ByteBuffer bytes = written(movie);
  EXPECT_EQ(*parse_init(bytes), movie);
  const auto tkhd = find_in(bytes, "tkhd");
  EXPECT_EQ(load_be(bytes.data() + tkhd + 92, 4), 424U << 16);
}

TEST(Init, CutAnywhereIsDamagedAndNeverHalfRead) {
  const ByteBuffer bytes = written({{picture_track(1), sound_track(2)}});
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto read = parse_init(ByteView(bytes).first(n));
    ASSERT_FALSE(read) << n;
    EXPECT_EQ(read.error().kind, ErrorKind::damaged);
  }
}

TEST(Init, AFlippedByteNeverCrashesAndWhatReadsStillSettles) {
  const ByteBuffer bytes = written({{picture_track(1), sound_track(2)}});
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const std::uint8_t flip : {std::uint8_t{0x01}, std::uint8_t{0x80}, std::uint8_t{0xff}}) {
      ByteBuffer damaged = bytes;
      damaged[i] ^= flip;
      const auto read = parse_init(damaged);
      if (!read) continue;
      const ByteBuffer once = written(*read);
      const auto again = parse_init(once);
      ASSERT_TRUE(again) << i;
      EXPECT_EQ(written(*again), once) << i;
    }
  }
}

TEST(Init, SamplesOfItsOwnAreSeen) {
  ByteBuffer bytes = written({{sound_track(1)}});
  const auto stsz = find_in(bytes, "stsz");
  bytes[stsz + 15] = 3;
  EXPECT_TRUE(has_own_samples(bytes));
  EXPECT_TRUE(parse_init(bytes));
}

TEST(Init, TwoTracksOfOneNumberAreDamaged) { EXPECT_FALSE(parse_init(written({{sound_track(2), sound_track(2)}}))); }

TEST(Movie, ThePictureDecidesWhereToCutElseTheSound) {
  EXPECT_EQ((Movie{{sound_track(1), picture_track(2)}}).reference()->id, 2U);
  EXPECT_EQ((Movie{{sound_track(1), sound_track(2)}}).reference()->id, 1U);
  EXPECT_EQ(Movie{}.reference(), nullptr);
}

TEST(Merge, NewDescriptionsStandBehindTheOldOnes) {
  const Movie current{{picture_track(1), sound_track(2)}};
  Movie next = current;
  ByteBuffer other = current.tracks[0].descriptions[0];
  other.back() ^= 1;
  next.tracks[0].descriptions = {other, current.tracks[0].descriptions[0]};
  std::swap(next.tracks[0], next.tracks[1]);
  const auto merged = merge(current, next);
  ASSERT_TRUE(merged);
  EXPECT_TRUE(merged->changed);
  EXPECT_EQ(merged->movie.tracks[0].descriptions, (std::vector<ByteBuffer>{current.tracks[0].descriptions[0], other}));
  EXPECT_EQ(merged->map, (std::vector<std::vector<std::uint32_t>>{{1}, {2, 1}}));
  const auto again = merge(merged->movie, next);
  EXPECT_FALSE(again->changed);
}

TEST(Merge, OtherTracksAreRefused) {
  const Movie current{{picture_track(1), sound_track(2)}};
  Movie other = current;
  other.tracks[1].timescale = 44100;
  for (const Movie& next : {Movie{{picture_track(1)}}, Movie{{picture_track(1), sound_track(3)}}, other}) {
    const auto merged = merge(current, next);
    ASSERT_FALSE(merged);
    EXPECT_EQ(merged.error().kind, ErrorKind::refused);
  }
}

}  // namespace
}  // namespace mc::mp4
