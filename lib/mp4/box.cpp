#include "mp4/box.hpp"

#include <string>

namespace mc::mp4 {

std::string to_text(FourCc type) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto c = static_cast<char>(type >> shift & 0xff);
    text += c >= 0x20 && c < 0x7f ? c : '?';
  }
  return text;
}

BoxWriter::BoxWriter(ByteBuffer& out, FourCc type) : out_(out), start_(out.size()) {
  append_be(out_, 0, 4);
  append_be(out_, type, 4);
}

BoxWriter::BoxWriter(ByteBuffer& out, FourCc type, std::uint8_t version, std::uint32_t flags) : BoxWriter(out, type) {
  append_be(out_, static_cast<std::uint64_t>(version) << 24 | flags, 4);
}

BoxWriter::~BoxWriter() { store_be(out_.data() + start_, out_.size() - start_, 4); }

Result<BoxHeader> read_box_header(ByteView bytes) {
  BoxHeader header;
  if (bytes.size() < 8) return header;
  header.type = static_cast<FourCc>(load_be(bytes.data() + 4, 4));
  header.header_bytes = 8;
  header.size_bytes = load_be(bytes.data(), 4);
  if (header.size_bytes == 1) {
    if (bytes.size() < 16) return header;
    header.header_bytes = 16;
    header.size_bytes = load_be(bytes.data() + 8, 8);
    if (header.size_bytes < 16) {
      return fail(ErrorKind::damaged, "box '" + to_text(header.type) + "' is smaller than its header");
    }
  } else if (header.size_bytes != 0 && header.size_bytes < 8) {
    return fail(ErrorKind::damaged, "box '" + to_text(header.type) + "' is smaller than its header");
  }
  header.complete = true;
  return header;
}

Status for_each_box(ByteView bytes, const std::function<Status(const Box&)>& visit) {
  while (!bytes.empty()) {
    MC_TRY_ASSIGN(const BoxHeader header, read_box_header(bytes));
    if (!header.complete) return fail(ErrorKind::damaged, "box header is cut off");
    const std::uint64_t size = header.size_bytes == 0 ? bytes.size() : header.size_bytes;
    if (size > bytes.size()) {
      return fail(ErrorKind::damaged, "box '" + to_text(header.type) + "' does not fit where it stands");
    }
    const ByteView whole = bytes.first(static_cast<std::size_t>(size));
    MC_TRY(visit(Box{header.type, whole, whole.subspan(header.header_bytes)}));
    bytes = bytes.subspan(whole.size());
  }
  return {};
}

std::uint64_t FieldReader::be(std::size_t n) {
  const ByteView field = take(n);
  return ok_ ? load_be(field.data(), n) : 0;
}

ByteView FieldReader::take(std::size_t n) {
  if (!ok_ || n > bytes_.size()) {
    ok_ = false;
    bytes_ = {};
    return {};
  }
  const ByteView field = bytes_.first(n);
  bytes_ = bytes_.subspan(n);
  return field;
}

}  // namespace mc::mp4
