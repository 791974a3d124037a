#include <gtest/gtest.h>

#include "mp4/box.hpp"
#include "mp4/stream_parser.hpp"
#include "mp4_material.hpp"

namespace mc::mp4 {
namespace {

using namespace material;

void add_box(ByteBuffer& out, FourCc type, std::size_t payload) {
  const BoxWriter box(out, type);
  out.resize(out.size() + payload, 0x55);
}

ByteBuffer typical_stream() {
  ByteBuffer out;
  write_init({{picture_track(1), sound_track(2)}}, out);
  write_styp(out);
  write_prft({1, 0, 1'000'000'000}, out);
  add_box(out, fourcc("sidx"), 30);
  add_fragment(out, {sample(1, 0, 3000, 50)});
  add_fragment(out, {sample(2, 0, 960, 9), sample(2, 960, 960, 0), sample(2, 1920, 960, 5)}, 100);
  add_box(out, fourcc("free"), 100);
  Event event;
  event.json = "{}";
  write_emsg(event, out);
  add_box(out, fourcc("mdat"), 33);
  add_fragment(out, {sample(1, 3000, 3000, 20)}, 30);
  add_box(out, fourcc("mfra"), 8);
  return out;
}

TEST(StreamParser, GivesTheSameItemsHoweverTheBytesCome) {
  const ByteBuffer stream = typical_stream();
  for (std::size_t step = 1; step < 40; ++step) {
    const Read read = read_stream(stream, step);
    ASSERT_FALSE(read.error) << read.error->message;
    EXPECT_EQ(read.end.torn_bytes, 0U);
    EXPECT_TRUE(read.end.saw_init);
    ASSERT_EQ(read.items.size(), 1U + 1 + 1 + 1 + 3 + 1 + 1);
    EXPECT_TRUE(std::holds_alternative<InitItem>(read.items[0]));
    EXPECT_TRUE(std::holds_alternative<SegmentItem>(read.items[1]));
    EXPECT_TRUE(std::holds_alternative<ProducerTimeItem>(read.items[2]));
    EXPECT_TRUE(std::holds_alternative<EventItem>(read.items[7]));
    ASSERT_EQ(read.samples.size(), 5U);
    EXPECT_EQ(read.samples[0].data, ByteBuffer(50, 1));
    EXPECT_EQ(read.samples[1].data, ByteBuffer(9, 100));
    EXPECT_TRUE(read.samples[2].data.empty());
    EXPECT_EQ(read.samples[3].data, ByteBuffer(5, 102));
    EXPECT_EQ(read.samples[4].data, ByteBuffer(20, 30));
  }
}

TEST(StreamParser, CutAnywhereGivesWholeItemsOnlyAndNamesTheRest) {
  const ByteBuffer stream = typical_stream();
  const Read whole = read_stream(stream, stream.size());
  std::size_t most = 0;
  for (std::size_t n = 0; n <= stream.size(); ++n) {
    const Read read = read_stream(ByteView(stream).first(n), 64);
    ASSERT_FALSE(read.error) << n;
    ASSERT_GE(read.samples.size(), most);
    most = read.samples.size();
    for (std::size_t i = 0; i < most; ++i) {
      EXPECT_EQ(read.samples[i].sample, whole.samples[i].sample);
      EXPECT_EQ(read.samples[i].data, whole.samples[i].data);
    }
    EXPECT_LE(read.end.torn_bytes, n);
  }
  EXPECT_EQ(most, whole.samples.size());
}

TEST(StreamParser, TornBytesCountFromTheMoofOfAnUnfinishedFragment) {
  ByteBuffer stream;
  write_init({{sound_track(1)}}, stream);
  const std::size_t start = stream.size();
  add_fragment(stream, {sample(1, 0, 960, 40)});
  for (std::size_t n = start; n < stream.size(); ++n) {
    EXPECT_EQ(read_stream(ByteView(stream).first(n), 1000).end.torn_bytes, n - start) << n;
  }
  add_box(stream, fourcc("free"), 90);
  EXPECT_EQ(read_stream(ByteView(stream).first(stream.size() - 1), 1000).end.torn_bytes, 97U);
}

TEST(StreamParser, AFlippedByteNeverCrashesNorChangesASamplesLength) {
  const ByteBuffer stream = typical_stream();
  for (std::size_t i = 0; i < stream.size(); ++i) {
    for (const std::uint8_t flip : {std::uint8_t{0x01}, std::uint8_t{0x80}, std::uint8_t{0xff}}) {
      ByteBuffer damaged = stream;
      damaged[i] ^= flip;
      const Read read = read_stream(damaged, 100);
      for (const SampleItem& item : read.samples) EXPECT_EQ(item.data.size(), item.sample.size_bytes);
      if (read.error) {
        EXPECT_FALSE(read.error->message.empty());
      }
    }
  }
}

// Two trafs in one moof, each sample's data in the one mdat.
ByteBuffer interleaved_moof() {
  ByteBuffer out;
  {
    const BoxWriter moof(out, fourcc("moof"));
    for (const auto& [track, duration, data] : {std::tuple(2U, 960U, 200U), std::tuple(1U, 3000U, 203U)}) {
      const BoxWriter traf(out, fourcc("traf"));
      {
        const BoxWriter tfhd(out, fourcc("tfhd"), 0, 0x020018);
        append_be(out, track, 4);
        append_be(out, duration, 4);
        append_be(out, 1, 4);
      }
      {
        const BoxWriter tfdt(out, fourcc("tfdt"), 0, 0);
        append_be(out, track == 1 ? 2400 : 0, 4);
      }
      const BoxWriter trun(out, fourcc("trun"), 0, 1);
      append_be(out, 3, 4);
      append_be(out, data, 4);
    }
  }
  return out;
}

TEST(StreamParser, SamplesOfAMoofComeByTimeAcrossItsTracks) {
  ByteBuffer stream;
  write_init({{picture_track(1), sound_track(2)}}, stream);
  const ByteBuffer moof = interleaved_moof();
  append(stream, moof);
  ASSERT_LT(moof.size(), 192U);
  add_box(stream, fourcc("free"), 192 - 8 - moof.size());
  append(stream, unhex("0000000e 6d646174 010203 040506"));
  const Read read = read_stream(stream, 7);
  ASSERT_FALSE(read.error) << read.error->message;
  // Sound at 0, 20, 40 ms; picture at 26.7, 60, 93.3 ms.
  ByteBuffer order;
  for (const SampleItem& item : read.samples) order.push_back(item.data[0]);
  EXPECT_EQ(order, (ByteBuffer{1, 2, 4, 3, 5, 6}));
}

TEST(StreamParser, DataMayLieInSeveralMdatsBeforeTheNextMoof) {
  ByteBuffer stream;
  write_init({{picture_track(1), sound_track(2)}}, stream);
  const ByteBuffer moof = interleaved_moof();
  append(stream, moof);
  add_box(stream, fourcc("free"), 192 - 8 - moof.size());
  append(stream, unhex("0000000b 6d646174 010203"));
  const Read early = read_stream(stream, 7);
  EXPECT_TRUE(early.samples.empty());
  EXPECT_FALSE(early.error);
  // The second run's offset is behind the first mdat's end and the second one's header.
  const std::size_t second_run = find_in(stream, std::string_view("\0\0\0\xcb", 4));
  ASSERT_LT(second_run, stream.size());
  stream[second_run + 3] = 203 + 8;
  append(stream, unhex("0000000b 6d646174 040506"));
  const Read read = read_stream(stream, 7);
  ASSERT_FALSE(read.error) << read.error->message;
  EXPECT_EQ(read.samples.size(), 6U);
  EXPECT_EQ(read.samples[2].data, ByteBuffer{4});
}

TEST(StreamParser, DataOutsideTheirMdatAreDamaged) {
  for (const unsigned offset : {0U, 99U, 101U, 255U}) {
    ByteBuffer stream;
    write_init({{sound_track(1)}}, stream);
    const std::size_t start = stream.size();
    add_fragment(stream, {sample(1, 0, 960, 40)});
    const auto trun = find_in(stream, "trun", start);
    stream[trun + 15] = static_cast<std::uint8_t>(offset);
    add_fragment(stream, {sample(1, 960, 960, 40)});
    const Read read = read_stream(stream, 1000);
    ASSERT_TRUE(read.error) << offset;
    EXPECT_EQ(read.error->kind, ErrorKind::damaged);
    EXPECT_TRUE(read.samples.empty());
  }
}

TEST(StreamParser, AnMdatToTheEndOfTheStreamIsReadAsFarAsItsSamplesReach) {
  ByteBuffer stream;
  write_init({{sound_track(1)}}, stream);
  const std::size_t start = stream.size();
  add_fragment(stream, {sample(1, 0, 960, 40)});
  const auto mdat = find_in(stream, "mdat", start);
  store_be(&stream[mdat - 4], 0, 4);
  stream.resize(stream.size() + 500, 0x20);
  const Read read = read_stream(stream, 11);
  ASSERT_FALSE(read.error) << read.error->message;
  ASSERT_EQ(read.samples.size(), 1U);
  EXPECT_EQ(read.samples[0].data, ByteBuffer(40, 1));
  EXPECT_EQ(read.end.torn_bytes, 0U);
}

TEST(StreamParser, SamplesOutsideOfFragmentsAreRefusedNotLost) {
  ByteBuffer stream;
  write_init({{sound_track(1)}}, stream);
  const auto stsz = find_in(stream, "stsz");
  stream[stsz + 15] = 3;
  const Read read = read_stream(stream, 1000);
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->kind, ErrorKind::refused);
  EXPECT_NE(read.error->hint, "");
}

TEST(StreamParser, AFragmentBeforeTheInitIsDamaged) {
  ByteBuffer stream;
  add_fragment(stream, {sample(1, 0, 960, 40)});
  const Read read = read_stream(stream, 1000);
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->message, "a fragment stands before the init segment at byte 0");
}

TEST(StreamParser, GarbageIsNoBox) {
  const Read read = read_stream(unhex("00000100 00010203 0405060708090a0b"), 1);
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->kind, ErrorKind::damaged);
  EXPECT_FALSE(read.end.saw_init);
}

TEST(StreamParser, ANewInitMayDescribeTheSameTracksAnew) {
  ByteBuffer stream;
  Movie movie{{sound_track(1)}};
  write_init(movie, stream);
  add_fragment(stream, {sample(1, 0, 960, 4)});
  movie.tracks[0].descriptions.push_back(movie.tracks[0].descriptions[0]);
  write_init(movie, stream);
  Sample second = sample(1, 960, 960, 4);
  second.description = 2;
  add_fragment(stream, {second});
  const Read read = read_stream(stream, 13);
  ASSERT_FALSE(read.error) << read.error->message;
  ASSERT_EQ(read.samples.size(), 2U);
  EXPECT_EQ(read.samples[1].sample.description, 2U);
}

}  // namespace
}  // namespace mc::mp4
