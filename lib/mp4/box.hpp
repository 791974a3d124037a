// ISO base media boxes on byte spans and buffers (ISO/IEC 14496-12 4.2). No files, no threads, no exceptions needed:
// this module also compiles to WebAssembly.
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace mc::mp4 {

using FourCc = std::uint32_t;
constexpr FourCc fourcc(const char (&text)[5]) {
  return static_cast<FourCc>(static_cast<std::uint8_t>(text[0])) << 24 |
         static_cast<FourCc>(static_cast<std::uint8_t>(text[1])) << 16 |
         static_cast<FourCc>(static_cast<std::uint8_t>(text[2])) << 8 | static_cast<std::uint8_t>(text[3]);
}
// For messages: the four letters, unprintable ones as '?'.
std::string to_text(FourCc type);

// Appends one box to a buffer; the size is written when the object dies. Nest by making the inner one while the outer
// one lives.
class BoxWriter {
 public:
  BoxWriter(ByteBuffer& out, FourCc type);
  BoxWriter(ByteBuffer& out, FourCc type, std::uint8_t version, std::uint32_t flags);  // a FullBox
  BoxWriter(const BoxWriter&) = delete;
  BoxWriter& operator=(const BoxWriter&) = delete;
  ~BoxWriter();

 private:
  ByteBuffer& out_;
  std::size_t start_;
};

// A box found in a span: views into it, valid as long as the span is.
struct Box {
  FourCc type = 0;
  ByteView whole;    // header included
  ByteView payload;  // after the header (a FullBox's version and flags are still in it)
};

// The header of the box at the start of `bytes`: the type, the header's length (8 or 16) and the whole size
// (0 = to the end of the stream). `bytes.size() < 16` may be too short: then `complete` is false.
struct BoxHeader {
  bool complete = false;
  FourCc type = 0;
  std::uint32_t header_bytes = 0;
  std::uint64_t size_bytes = 0;
};
Result<BoxHeader> read_box_header(ByteView bytes);  // kind damaged: a size smaller than the header

// Walks the boxes of `bytes`, which must be whole; a box that does not fit is ErrorKind::damaged.
Status for_each_box(ByteView bytes, const std::function<Status(const Box&)>& visit);

// Reads numbers off a payload. After the first read past the end every value is 0 and ok() is false, so that a parser
// reads all its fields and asks once.
class FieldReader {
 public:
  explicit FieldReader(ByteView bytes) : bytes_(bytes) {}
  std::uint64_t be(std::size_t n);
  std::uint8_t u8() { return static_cast<std::uint8_t>(be(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(be(2)); }
  std::uint32_t u24() { return static_cast<std::uint32_t>(be(3)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(be(4)); }
  std::uint64_t u64() { return be(8); }
  ByteView take(std::size_t n);
  void skip(std::size_t n) { take(n); }
  ByteView rest() { return take(bytes_.size()); }
  std::size_t left() const { return bytes_.size(); }
  bool ok() const { return ok_; }

 private:
  ByteView bytes_;
  bool ok_ = true;
};

}  // namespace mc::mp4
