#include <gtest/gtest.h>

#include <algorithm>

#include "mp4/codec.hpp"
#include "mp4/nal.hpp"
#include "mp4/sample_entry.hpp"
#include "mp4_material.hpp"

namespace mc::mp4 {
namespace {

using namespace material;

const ByteBuffer kKeySlice = unhex("658801020300000304");
const ByteBuffer kSlice = unhex("419a0102");
const ByteBuffer kSei = unhex("0605ff80");
const ByteBuffer kDelimiter = unhex("0910");

ByteBuffer annex_b(std::initializer_list<ByteView> nals) {
  ByteBuffer out;
  bool first = true;
  for (const ByteView nal : nals) {
    append(out, unhex(first ? "00000001" : "000001"));
    append(out, nal);
    first = false;
  }
  return out;
}
ByteBuffer prefixed(std::initializer_list<ByteView> nals, std::size_t length_bytes = 4) {
  ByteBuffer out;
  for (const ByteView nal : nals) {
    append_be(out, nal.size(), length_bytes);
    append(out, nal);
  }
  return out;
}
NalFramer framer(ByteBuffer extradata, Codec codec = Codec::h264) {
  CodecParameters parameters;
  parameters.codec = codec;
  parameters.extradata = std::move(extradata);
  return NalFramer(parameters);
}

TEST(NalFramer, ParameterSetsOfTheExtradataStandInFrontOfEachKeyFrame) {
  for (const bool is_record : {true, false}) {
    NalFramer f = framer(is_record ? kAvcC : annex_b({kSps, kPps}));
    const auto packet = [&](std::initializer_list<ByteView> nals) {
      return is_record ? prefixed(nals) : annex_b(nals);
    };
    auto key = f.normalise(packet({kDelimiter, kSei, kKeySlice}));
    ASSERT_TRUE(key);
    EXPECT_TRUE(key->key);
    EXPECT_FALSE(key->sample_entry);
    EXPECT_EQ(key->data, prefixed({kDelimiter, kSps, kPps, kSei, kKeySlice}));
    auto other = f.normalise(packet({kSlice}));
    ASSERT_TRUE(other);
    EXPECT_FALSE(other->key);
    EXPECT_EQ(other->data, prefixed({kSlice}));
  }
}

TEST(NalFramer, ParameterSetsThatAreThereAreNotRepeated) {
  NalFramer f = framer(kAvcC);
  EXPECT_EQ(f.normalise(prefixed({kSps, kPps, kKeySlice}))->data, prefixed({kSps, kPps, kKeySlice}));
  EXPECT_EQ(f.normalise(prefixed({kPps, kKeySlice}))->data, prefixed({kSps, kPps, kKeySlice}));
}

TEST(NalFramer, ShortLengthsBecomeFourBytes) {
  for (const std::size_t length_bytes : {1U, 2U, 3U, 4U}) {
    ByteBuffer record = kAvcC;
    record[4] = static_cast<std::uint8_t>(0xfc | (length_bytes - 1));
    NalFramer f = framer(record);
    EXPECT_EQ(f.normalise(prefixed({kSlice, kSei}, length_bytes))->data, prefixed({kSlice, kSei}));
    EXPECT_FALSE(f.normalise(ByteView(prefixed({kSlice}, length_bytes)).first(length_bytes + 3)));
  }
}

TEST(NalFramer, NothingIsDecodableBeforeTheFirstKeyFrameWithParameterSets) {
  NalFramer f = framer({});
  EXPECT_EQ(f.normalise(annex_b({kSlice})).error().kind, ErrorKind::unavailable);
  EXPECT_EQ(f.normalise(annex_b({kKeySlice})).error().kind, ErrorKind::unavailable);
  EXPECT_EQ(f.normalise(annex_b({kSps, kPps})).error().kind, ErrorKind::unavailable);
  const auto key = f.normalise(annex_b({kKeySlice}));
  ASSERT_TRUE(key);
  EXPECT_EQ(key->data, prefixed({kSps, kPps, kKeySlice})) << "sets of an earlier packet count";
  CodecParameters parameters;
  parameters.extradata = kAvcC;
  EXPECT_EQ(key->sample_entry, *make_sample_entry(parameters, {}));
}

TEST(NalFramer, OtherParameterSetsInBandChangeTheDescriptionAndBackAgain) {
  NalFramer f = framer(kAvcC);
  ASSERT_TRUE(f.normalise(prefixed({kKeySlice})));
  const auto changed = f.normalise(prefixed({kSps444, kPps444, kKeySlice}));
  ASSERT_TRUE(changed && changed->sample_entry);
  EXPECT_EQ(codec_string(*changed->sample_entry), "avc1.f4000d");
  EXPECT_EQ(changed->data, prefixed({kSps444, kPps444, kKeySlice}));
  const auto next = f.normalise(prefixed({kKeySlice}));
  EXPECT_FALSE(next->sample_entry);
  EXPECT_EQ(next->data, prefixed({kSps444, kPps444, kKeySlice}));
  const auto back = f.normalise(prefixed({kSps, kPps, kKeySlice}));
  ASSERT_TRUE(back && back->sample_entry);
  CodecParameters parameters;
  parameters.extradata = kAvcC;
  EXPECT_EQ(*back->sample_entry, *make_sample_entry(parameters, {})) << "the very bytes that it had before";
}

TEST(NalFramer, SetsOfOtherIdsAreKept) {
  NalFramer f = framer(kAvcC);
  const ByteBuffer second_pps = unhex("6859e3cb");  // id 1 (bits 010), for SPS 0 (bit 1)
  ASSERT_EQ(read_parameter_set(Codec::h264, second_pps)->id, 1U);
  const auto changed = f.normalise(prefixed({second_pps, kKeySlice}));
  ASSERT_TRUE(changed && changed->sample_entry);
  EXPECT_EQ(changed->data, prefixed({kSps, kPps, second_pps, kKeySlice}));
  const auto key = f.normalise(prefixed({kKeySlice}));
  EXPECT_EQ(key->data, prefixed({kSps, kPps, second_pps, kKeySlice}));
  const auto other_sps = f.normalise(prefixed({kSps444, kPps444, kKeySlice}));
  EXPECT_EQ(other_sps->data, prefixed({kSps444, kPps444, kKeySlice})) << "a PPS goes with the SPS that it was for";
}

TEST(NalFramer, HevcNeedsAllThreeKinds) {
  const ByteBuffer key_slice = unhex("2801af0102");  // IDR_N_LP
  NalFramer f = framer({}, Codec::hevc);
  EXPECT_EQ(f.normalise(annex_b({kHevcSps, kHevcPps, key_slice})).error().kind, ErrorKind::unavailable);
  NalFramer g = framer(kHvcC, Codec::hevc);
  const ByteBuffer delimiter = unhex("460150");
  EXPECT_EQ(g.normalise(prefixed({delimiter, key_slice}))->data,
            prefixed({delimiter, kHevcVps, kHevcSps, kHevcPps, key_slice}));
  EXPECT_FALSE(g.normalise(prefixed({unhex("0201d0")}))->key);
}

TEST(NalFramer, SeiOfAnHvcCStaysThereAndFramesStayAsTheyAre) {
  const ByteBuffer key_slice = unhex("2801af0102");
  const ByteBuffer sei = unhex("4e01891800000080");  // mastering display colour volume, cut short
  const ByteBuffer array = unhex("270001 0008 4e01891800000080");
  ByteBuffer hvcc = kHvcC;
  ++hvcc[22];  // one array more
  append(hvcc, array);
  NalFramer f = framer(hvcc, Codec::hevc);
  EXPECT_EQ(f.normalise(prefixed({key_slice}))->data, prefixed({kHevcVps, kHevcSps, kHevcPps, key_slice}));
  EXPECT_EQ(f.normalise(prefixed({sei, key_slice}))->data, prefixed({kHevcVps, kHevcSps, kHevcPps, sei, key_slice}));
  // However the extradata came, the description has it, behind the parameter sets.
  CodecParameters parameters;
  parameters.codec = Codec::hevc;
  for (const ByteBuffer& extradata : {hvcc, annex_b({kHevcVps, kHevcSps, kHevcPps, sei})}) {
    parameters.extradata = extradata;
    const auto entry = make_sample_entry(parameters, {});
    ASSERT_TRUE(entry);
    ASSERT_GT(entry->size(), array.size());
    EXPECT_TRUE(std::equal(array.rbegin(), array.rend(), entry->rbegin())) << "the last of the record and of the entry";
  }
}

TEST(NalFramer, SeiOfH264ExtradataStandsInEachKeyFrameOnce) {
  NalFramer f = framer(annex_b({kSps, kPps, kSei}));
  const ByteBuffer want = prefixed({kSps, kPps, kSei, kKeySlice});
  EXPECT_EQ(f.normalise(annex_b({kKeySlice}))->data, want);
  EXPECT_EQ(f.normalise(annex_b({kSlice}))->data, prefixed({kSlice}));
  EXPECT_EQ(f.normalise(annex_b({kSei, kKeySlice}))->data, want) << "carried by the frame itself";
}

TEST(NalFramer, TrailingZerosAndLongStartCodesAreNotPartOfANalUnit) {
  NalFramer f = framer(annex_b({kSps, kPps}));
  EXPECT_EQ(f.normalise(unhex("0000000001 419a0102 000000 00000001 0605ff80 0000"))->data, prefixed({kSlice, kSei}));
  EXPECT_EQ(f.normalise(unhex("41000001 419a0102")).error().kind, ErrorKind::damaged);
}

TEST(NalFramer, ALengthPastTheEndIsDamagedAndChangesNothing) {
  NalFramer f = framer(kAvcC);
  const ByteBuffer whole = prefixed({kSps444, kPps444, kKeySlice});
  for (std::size_t n = 1; n < whole.size(); ++n) {
    const auto frame = f.normalise(ByteView(whole).first(n));
    if (frame) continue;  // ends between units
    EXPECT_EQ(frame.error().kind, ErrorKind::damaged);
  }
}

}  // namespace
}  // namespace mc::mp4
