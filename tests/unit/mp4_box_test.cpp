#include <gtest/gtest.h>

#include "mp4/box.hpp"

namespace mc::mp4 {
namespace {

TEST(BoxWriter, NestedBoxesGetTheirSizes) {
  ByteBuffer out;
  {
    const BoxWriter outer(out, fourcc("moov"));
    const BoxWriter inner(out, fourcc("mvex"), 1, 0x010203);
    append_be(out, 0xaa, 1);
  }
  EXPECT_EQ(out, (ByteBuffer{0, 0, 0, 21, 'm', 'o', 'o', 'v', 0, 0, 0, 13, 'm', 'v', 'e', 'x', 1, 1, 2, 3, 0xaa}));
}

TEST(BoxHeader, EightBytesAreEnoughUnlessTheSizeIsLarge) {
  const ByteBuffer small = {0, 0, 0, 9, 'f', 'r', 'e', 'e'};
  for (std::size_t n = 0; n < 8; ++n) EXPECT_FALSE(read_box_header(ByteView(small).first(n))->complete);
  EXPECT_TRUE(read_box_header(small)->complete);
  EXPECT_EQ(read_box_header(small)->size_bytes, 9U);
  const ByteBuffer large = {0, 0, 0, 1, 'm', 'd', 'a', 't', 0, 0, 0, 2, 0, 0, 0, 0};
  for (std::size_t n = 8; n < 16; ++n) EXPECT_FALSE(read_box_header(ByteView(large).first(n))->complete);
  EXPECT_EQ(read_box_header(large)->size_bytes, 1ULL << 33);
  EXPECT_EQ(read_box_header(large)->header_bytes, 16U);
}

TEST(BoxHeader, ASizeSmallerThanTheHeaderIsDamaged) {
  for (std::uint8_t size = 2; size < 8; ++size) {
    const auto header = read_box_header(ByteBuffer{0, 0, 0, size, 'f', 'r', 'e', 'e'});
    ASSERT_FALSE(header);
    EXPECT_EQ(header.error().kind, ErrorKind::damaged);
  }
  EXPECT_FALSE(read_box_header(ByteBuffer{0, 0, 0, 1, 'f', 'r', 'e', 'e', 0, 0, 0, 0, 0, 0, 0, 15}));
}

TEST(Boxes, ABoxThatDoesNotFitIsDamaged) {
  const ByteBuffer bytes = {0, 0, 0, 8, 'f', 'r', 'e', 'e', 0, 0, 0, 10, 's', 'k', 'i', 'p', 0};
  int seen = 0;
  const auto walked = for_each_box(bytes, [&](const Box&) -> Status {
    ++seen;
    return {};
  });
  EXPECT_FALSE(walked);
  EXPECT_EQ(seen, 1);
}

TEST(FieldReader, ReadsPastTheEndAreZeroForEver) {
  const ByteBuffer bytes = {1, 2, 3};
  FieldReader in(bytes);
  EXPECT_EQ(in.u16(), 0x0102);
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(in.u32(), 0U);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.u8(), 0U);
}

TEST(FourCc, UnprintableLettersAreQuestionMarks) { EXPECT_EQ(to_text(0x61020a7a), "a??z"); }

}  // namespace
}  // namespace mc::mp4
