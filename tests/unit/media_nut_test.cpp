#include <gtest/gtest.h>

#include <algorithm>

#include "media/nut_reader.hpp"
#include "media/nut_writer.hpp"

namespace mc::media {
namespace {

struct Kept {
  std::uint32_t stream = 0;
  std::int64_t pts = 0;
  bool key = false;
  ByteBuffer data;
  bool operator==(const Kept&) const = default;
};

std::vector<Stream> three_streams() {
  Stream picture;
  picture.kind = StreamKind::picture;
  picture.time_base = {1, 90000};
  picture.decode_delay = 2;
  picture.nominal_ticks = 3000;
  picture.parameters.emplace();
  picture.parameters->codec = mp4::Codec::h264;
  picture.parameters->extradata = {1, 2, 3};
  picture.parameters->width = 1280;
  picture.parameters->height = 720;
  Stream sound;
  sound.kind = StreamKind::sound;
  sound.time_base = {1, 48000};
  sound.priming_samples = 1024;
  sound.parameters.emplace();
  sound.parameters->codec = mp4::Codec::aac;
  sound.parameters->extradata = {0x11, 0x90};
  sound.parameters->sample_rate = 48000;
  sound.parameters->channels = 2;
  Stream events;
  events.kind = StreamKind::events;
  events.time_base = {1, 1000000};
  return {picture, sound, events};
}

std::vector<Kept> some_packets() {
  std::vector<Kept> packets;
  const std::int64_t epoch = 1'795'341'600;  // time stamps of this size are what a capture gives
  for (std::int64_t i = 0; i < 90; ++i) {
    Kept picture{0, epoch * 90000 + i * 3000, i % 30 == 0, {}};
    picture.data.resize(i % 30 == 0 ? 40000 : 700, static_cast<std::uint8_t>('N'));
    packets.push_back(picture);
    packets.push_back({1, epoch * 48000 + i * 1600, true, ByteBuffer(static_cast<std::size_t>(i) + 1, 7)});
  }
  packets.push_back({2, epoch * 1000000, true, {'{', '}'}});
  return packets;
}

ByteBuffer written(const std::vector<Kept>& packets, const Tags& tags = {}) {
  NutWriter writer(three_streams(), tags);
  ByteBuffer out = writer.header();
  for (const Kept& packet : packets) {
    const auto bytes = writer.packet({packet.stream, packet.pts, packet.key, packet.data});
    EXPECT_TRUE(bytes);
    append(out, *bytes);
  }
  return out;
}

// Reads in pieces of `step` bytes.
struct Reading {
  NutReader reader;
  std::vector<Kept> packets;
  std::optional<Error> error;

  void read(ByteView bytes, std::size_t step) {
    while (!bytes.empty() && !error) {
      const std::size_t n = std::min(step, bytes.size());
      reader.push(bytes.first(n));
      bytes = bytes.subspan(n);
      for (;;) {
        const auto packet = reader.next();
        if (!packet) error = packet.error();
        if (!packet || !*packet) break;
        packets.push_back({(*packet)->stream, *(*packet)->pts, (*packet)->key,
                           ByteBuffer((*packet)->data.begin(), (*packet)->data.end())});
      }
    }
  }
};

TEST(Nut, WhatIsWrittenIsReadInPiecesOfAnySize) {
  const auto packets = some_packets();
  const ByteBuffer bytes = written(packets, {{"maycast-t0", "2026-11-22T10:00:00.000000000Z"}});
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, bytes.size()}) {
    Reading reading;
    reading.read(bytes, step);
    ASSERT_FALSE(reading.error) << reading.error->message;
    EXPECT_EQ(reading.packets, packets);
    EXPECT_EQ(reading.reader.finish().torn_bytes, 0U);
    EXPECT_EQ(reading.reader.finish().damaged_bytes, 0U);
  }
}

TEST(Nut, StreamsAndTagsComeThrough) {
  Reading reading;
  reading.read(written(some_packets(), {{"maycast-recording", "0f8e"}, {"title", "größer"}}), 1000);
  ASSERT_EQ(reading.reader.streams().size(), 3U);
  const Stream& picture = reading.reader.streams()[0];
  EXPECT_EQ(picture.kind, StreamKind::picture);
  EXPECT_EQ(picture.parameters->codec, mp4::Codec::h264);
  EXPECT_EQ(picture.parameters->width, 1280);
  EXPECT_EQ(picture.decode_delay, 2U);
  EXPECT_EQ(picture.nominal_ticks, 3000);
  const Stream& sound = reading.reader.streams()[1];
  EXPECT_EQ(sound.parameters->codec, mp4::Codec::aac);
  EXPECT_EQ(sound.parameters->extradata, (ByteBuffer{0x11, 0x90}));
  EXPECT_EQ(sound.parameters->channels, 2);
  EXPECT_EQ(sound.priming_samples, 1024U);
  EXPECT_EQ(reading.reader.streams()[2].kind, StreamKind::events);
  EXPECT_EQ(reading.reader.tags().at("title"), "größer");
}

TEST(Nut, ALastPacketThatIsNotWholeIsNotGiven) {
  auto packets = some_packets();
  packets.resize(4);
  const ByteBuffer bytes = written(packets);
  NutWriter writer(three_streams(), {});
  const std::size_t headers = writer.header().size();
  std::size_t before = 0;
  // Each length near the end, every 29th before: a reader makes room for a whole read, which costs a sanitizer dearly.
  for (std::size_t length = headers; length < bytes.size(); length += bytes.size() - length < 200 ? 1 : 29) {
    Reading reading;
    reading.read(ByteView(bytes).first(length), length);
    ASSERT_FALSE(reading.error);
    ASSERT_LT(reading.packets.size(), packets.size());
    ASSERT_GE(reading.packets.size(), before);
    before = reading.packets.size();
    ASSERT_TRUE(std::equal(reading.packets.begin(), reading.packets.end(), packets.begin()));
    ASSERT_EQ(reading.reader.finish().damaged_bytes, 0U);
  }
  EXPECT_EQ(before, 3U);
}

TEST(Nut, AFlippedByteInAFrameHeaderCostsNoMoreThanToTheNextSyncpoint) {
  const auto packets = some_packets();
  ByteBuffer bytes = written(packets);
  NutWriter writer(three_streams(), {});
  std::size_t at = writer.header().size();
  at += writer.packet({0, packets[0].pts, true, packets[0].data})->size();
  at += writer.packet({1, packets[1].pts, true, packets[1].data})->size();
  bytes[at + 3] ^= 0x10;
  Reading reading;
  reading.read(bytes, 1000);
  ASSERT_FALSE(reading.error);
  ASSERT_GT(reading.packets.size(), 100U);
  EXPECT_GT(reading.reader.finish().damaged_bytes, 0U);
  EXPECT_EQ(reading.packets.back(), packets.back());
  for (const Kept& packet : reading.packets) {
    EXPECT_NE(std::find(packets.begin(), packets.end(), packet), packets.end());
  }
}

TEST(Nut, DamagedHeadersAreAnError) {
  const ByteBuffer good = written(some_packets());
  NutWriter writer(three_streams(), {});
  const std::size_t headers = writer.header().size();
  for (std::size_t i = 0; i < headers; ++i) {
    ByteBuffer bytes = good;
    bytes[i] ^= 1;
    Reading reading;
    reading.read(bytes, bytes.size());
    // A damaged length can also mean that the header seems never to end.
    ASSERT_TRUE(reading.error || reading.packets.empty()) << "byte " << i;
    if (reading.error) {
      EXPECT_EQ(reading.error->kind, ErrorKind::damaged);
    }
  }
}

TEST(Nut, OtherBytesAreNoNut) {
  Reading reading;
  reading.read(as_bytes("this is not a nut stream, by no means"), 1000);
  ASSERT_TRUE(reading.error);
  EXPECT_EQ(reading.error->kind, ErrorKind::damaged);
}

TEST(Nut, NegativeTimesAreRefusedByTheWriter) {
  NutWriter writer(three_streams(), {});
  EXPECT_EQ(writer.packet({0, -1, true, {}}).error().kind, ErrorKind::bug);
}

TEST(Nut, ChecksumOverItselfIsZero) {
  ByteBuffer bytes{1, 2, 3, 4, 5};
  append_be(bytes, nut::crc32(bytes), 4);
  EXPECT_EQ(nut::crc32(bytes), 0U);
}

TEST(Nut, NumbersOfEveryLengthComeBack) {
  for (int shift = 0; shift < 62; ++shift) {
    const std::int64_t value = (std::int64_t{1} << shift) + 1;
    ByteBuffer bytes;
    nut::append_v(bytes, static_cast<std::uint64_t>(value));
    nut::append_s(bytes, value);
    nut::append_s(bytes, -value);
    nut::NumberReader in(bytes);
    EXPECT_EQ(in.v(), static_cast<std::uint64_t>(value));
    EXPECT_EQ(in.s(), value);
    EXPECT_EQ(in.s(), -value);
    EXPECT_TRUE(in.ok());
    EXPECT_EQ(in.left(), 0U);
  }
}

}  // namespace
}  // namespace mc::media
