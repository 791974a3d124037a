#include <gtest/gtest.h>

#include "mp4/box.hpp"
#include "mp4/codec.hpp"
#include "mp4/sample_entry.hpp"
#include "mp4_material.hpp"

namespace mc::mp4 {
namespace {

using namespace material;

CodecParameters parameters(Codec codec, ByteBuffer extradata) {
  CodecParameters p;
  p.codec = codec;
  p.extradata = std::move(extradata);
  return p;
}

ByteBuffer child(ByteView entry, TrackKind kind, FourCc type) {
  const ByteView found = entry_child(entry, kind, type);
  return {found.begin(), found.end()};
}

const ByteBuffer kStart = {0, 0, 0, 1};

TEST(SampleEntry, H264IsTheSameFromAvcCAnnexBAndInBand) {
  const auto from_record = make_sample_entry(parameters(Codec::h264, kAvcC), {});
  ASSERT_TRUE(from_record) << from_record.error().message;
  EXPECT_EQ(child(*from_record, TrackKind::video, fourcc("avcC")), kAvcC);
  EXPECT_EQ(codec_string(*from_record), "avc1.64000d");
  const EntryFormat format = entry_format(*from_record, TrackKind::video);
  EXPECT_EQ(format.width, 318);
  EXPECT_EQ(format.height, 242);
  const ByteBuffer annex_b = joined({kStart, kSps, kStart, kPps});
  EXPECT_EQ(make_sample_entry(parameters(Codec::h264, annex_b), {}).value(), from_record.value());
  const ByteBuffer slice = unhex("00000001 6588");
  EXPECT_EQ(make_sample_entry(parameters(Codec::h264, {}), joined({annex_b, slice})).value(), from_record.value());
}

TEST(SampleEntry, High444SaysItsChromaAndDepth) {
  const auto entry = make_sample_entry(parameters(Codec::h264, joined({kStart, kSps444, kStart, kPps444})), {});
  ASSERT_TRUE(entry);
  const ByteBuffer avcc = child(*entry, TrackKind::video, fourcc("avcC"));
  EXPECT_EQ(ByteBuffer(avcc.end() - 4, avcc.end()), unhex("ff fa fa 00"));
  EXPECT_EQ(entry_format(*entry, TrackKind::video).width, 318);
}

TEST(SampleEntry, HevcIsTheSameFromHvcCAndAnnexB) {
  const auto from_sets =
      make_sample_entry(parameters(Codec::hevc, joined({kStart, kHevcVps, kStart, kHevcSps, kStart, kHevcPps})), {});
  ASSERT_TRUE(from_sets) << from_sets.error().message;
  EXPECT_EQ(child(*from_sets, TrackKind::video, fourcc("hvcC")), kHvcC);
  EXPECT_EQ(codec_string(*from_sets), "hvc1.1.6.L60.90");
  EXPECT_EQ(entry_format(*from_sets, TrackKind::video).height, 242);
  EXPECT_EQ(make_sample_entry(parameters(Codec::hevc, kHvcC), {}).value(), from_sets.value());
}

TEST(SampleEntry, WithoutParameterSetsAKeyFrameIsNeeded) {
  for (const Codec codec : {Codec::h264, Codec::hevc, Codec::av1, Codec::vp9, Codec::aac}) {
    const auto entry = make_sample_entry(parameters(codec, {}), {});
    ASSERT_FALSE(entry) << name(codec);
    EXPECT_EQ(entry.error().kind, ErrorKind::unavailable) << name(codec);
  }
}

TEST(SampleEntry, Av1IsTheSameFromRecordAndFromKeyFrame) {
  const ByteBuffer record = unhex("81000c00 0a0b000000043cf7c4daf90040");
  const ByteBuffer key_frame = unhex("1200 0a0b000000043cf7c4daf90040 320110");
  const auto from_record = make_sample_entry(parameters(Codec::av1, record), {});
  ASSERT_TRUE(from_record);
  EXPECT_EQ(child(*from_record, TrackKind::video, fourcc("av1C")), record);
  EXPECT_EQ(codec_string(*from_record), "av01.0.00M.08");
  EXPECT_EQ(entry_format(*from_record, TrackKind::video).width, 318);
  EXPECT_EQ(make_sample_entry(parameters(Codec::av1, {}), key_frame).value(), from_record.value());
  EXPECT_TRUE(is_key_frame(Codec::av1, key_frame));
  EXPECT_FALSE(is_key_frame(Codec::av1, unhex("1200 320130")));
  EXPECT_EQ(without_temporal_delimiters(key_frame), ByteBuffer(key_frame.begin() + 2, key_frame.end()));
  EXPECT_EQ(without_temporal_delimiters(unhex("ffffff")), unhex("ffffff")) << "what is not OBUs stays";
}

TEST(SampleEntry, Vp9FromItsKeyFrame) {
  // profile 0, key frame, shown; sync code; BT.601; 318x242
  const ByteBuffer key_frame = unhex("82498342 2013d00f10");
  ASSERT_TRUE(is_key_frame(Codec::vp9, key_frame));
  const auto entry = make_sample_entry(parameters(Codec::vp9, {}), key_frame);
  ASSERT_TRUE(entry);
  EXPECT_EQ(child(*entry, TrackKind::video, fourcc("vpcC")), unhex("01000000 00 14 82 02 02 02 0000"));
  EXPECT_EQ(entry_format(*entry, TrackKind::video).width, 318);
  EXPECT_EQ(entry_format(*entry, TrackKind::video).height, 242);
  EXPECT_FALSE(is_key_frame(Codec::vp9, unhex("86498342 2013d00f10")));
}

TEST(SampleEntry, Vp9FeaturesOfWebMGiveTheLevel) {
  const auto entry = make_sample_entry(parameters(Codec::vp9, unhex("010102 02011f 03010a 040101")), {});
  ASSERT_TRUE(entry);
  EXPECT_EQ(child(*entry, TrackKind::video, fourcc("vpcC")), unhex("01000000 02 1f a2 02 02 02 0000"));
}

TEST(SampleEntry, AacFromItsConfigAndFromAdts) {
  CodecParameters p = parameters(Codec::aac, unhex("1210"));
  const auto from_config = make_sample_entry(p, {});
  ASSERT_TRUE(from_config);
  EXPECT_EQ(codec_string(*from_config), "mp4a.40.2");
  EXPECT_EQ(entry_format(*from_config, TrackKind::audio).sample_rate, 44100U);
  EXPECT_EQ(entry_format(*from_config, TrackKind::audio).channels, 2);
  const ByteView config = entry_decoder_config(*from_config);
  EXPECT_EQ(ByteBuffer(config.begin(), config.end()), unhex("1210"));
  const ByteBuffer adts = unhex("fff15080013ffc de02");  // 9 bytes, AAC-LC, 44100, 2 channels
  p.extradata.clear();
  EXPECT_EQ(make_sample_entry(p, adts).value(), from_config.value());
  EXPECT_EQ(without_adts(adts).size(), 2U);
  EXPECT_EQ(without_adts(unhex("fff15080015ffc de02")).size(), 9U) << "a header that does not span the packet is none";
  EXPECT_EQ(packet_samples(Codec::aac, {}, adts), 1024U);
  EXPECT_EQ(packet_samples(Codec::aac, unhex("1214"), {}), 960U);
  EXPECT_EQ(packet_samples(Codec::aac, unhex("2b920800"), {}), 2048U) << "SBR is declared";
}

TEST(SampleEntry, OpusFromItsHeadAndWithout) {
  CodecParameters p = parameters(Codec::opus, unhex("4f70757348656164 01 02 3801 44ac0000 0000 00"));
  const auto entry = make_sample_entry(p, {});
  ASSERT_TRUE(entry);
  EXPECT_EQ(child(*entry, TrackKind::audio, fourcc("dOps")), unhex("00 02 0138 0000ac44 0000 00"));
  EXPECT_EQ(entry_format(*entry, TrackKind::audio).sample_rate, 48000U);
  p = parameters(Codec::opus, {});
  p.channels = 1;
  EXPECT_EQ(child(*make_sample_entry(p, {}), TrackKind::audio, fourcc("dOps")), unhex("00 01 0000 0000bb80 0000 00"));
  p.channels = 6;
  EXPECT_FALSE(make_sample_entry(p, {})) << "how six channels are mapped is nowhere said";
  p.extradata = unhex("4f70757348656164 01 06 3801 80bb0000 0000 01 04 02 000401020305");
  EXPECT_EQ(child(*make_sample_entry(p, {}), TrackKind::audio, fourcc("dOps")),
            unhex("00 06 0138 0000bb80 0000 01 04 02 000401020305"));
  p.extradata.pop_back();
  EXPECT_EQ(make_sample_entry(p, {}).error().kind, ErrorKind::damaged);
}

TEST(SampleEntry, OpusPacketsTellTheirLength) {
  EXPECT_EQ(packet_samples(Codec::opus, {}, unhex("fc00")), 960U);   // CELT 20 ms
  EXPECT_EQ(packet_samples(Codec::opus, {}, unhex("e100")), 240U);   // CELT 2.5 ms, two frames
  EXPECT_EQ(packet_samples(Codec::opus, {}, unhex("1b02")), 5760U);  // SILK 60 ms, two by count
  EXPECT_EQ(packet_samples(Codec::opus, {}, unhex("1b03")), 0U);     // longer than 120 ms
  EXPECT_EQ(packet_samples(Codec::opus, {}, {}), 0U);
}

TEST(SampleEntry, FlacAboveSixteenBitsOfRateKeepsItsRate) {
  const ByteBuffer info = unhex("2220002000000428 0008c8177000f00002ee003b998fe09d4f886bb9017d02cc59fd75 0000");
  const ByteBuffer stream_info = unhex("2220 2220 000428 0008c8 177000f00002ee00 3b998fe09d4f886bb9017d02cc59fd75");
  ASSERT_EQ(stream_info.size(), 34U);
  const auto entry = make_sample_entry(parameters(Codec::flac, stream_info), {});
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_EQ(load_be(entry->data() + 32, 2), 48000U) << "the greatest regular division that fits";
  EXPECT_EQ(entry_format(*entry, TrackKind::audio).sample_rate, 96000U);
  EXPECT_EQ(child(*entry, TrackKind::audio, fourcc("dfLa")), joined({unhex("00000000 80000022"), stream_info}));
  const ByteBuffer native = joined({unhex("664c6143 00000022"), stream_info, unhex("84000000")});
  EXPECT_EQ(make_sample_entry(parameters(Codec::flac, native), {}).value(), entry.value());
  EXPECT_EQ(make_sample_entry(parameters(Codec::flac, info), {}).error().kind, ErrorKind::damaged);
  EXPECT_EQ(packet_samples(Codec::flac, {}, unhex("fff8c9080000")), 4096U);
  EXPECT_EQ(packet_samples(Codec::flac, {}, unhex("fff87908 c280 01ff 00")), 512U);
}

TEST(SampleEntry, PixelShapeIsAPasp) {
  CodecParameters p = parameters(Codec::h264, kAvcC);
  p.sar_numerator = 64;
  p.sar_denominator = 45;
  const auto entry = make_sample_entry(p, {});
  EXPECT_EQ(child(*entry, TrackKind::video, fourcc("pasp")), unhex("00000040 0000002d"));
}

TEST(SampleEntry, ExtradataCutAnywhereNeverCrash) {
  for (const auto& [codec, whole] :
       {std::pair(Codec::h264, kAvcC), std::pair(Codec::hevc, kHvcC), std::pair(Codec::aac, unhex("1210")),
        std::pair(Codec::av1, unhex("81000c000a0b000000043cf7c4daf90040")),
        std::pair(Codec::opus, unhex("4f70757348656164010238014 4ac0000000000"))}) {
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const auto entry = make_sample_entry(
          parameters(codec, ByteBuffer(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n))), {});
      if (!entry) {
        EXPECT_FALSE(entry.error().message.empty());
      }
    }
  }
}

}  // namespace
}  // namespace mc::mp4
