// Extradata and packets that may be anything, for each codec: no crash, and what is made of them reads back.
//
// Input: codec, length of the extradata (2 bytes), extradata, then packets, each behind its length (2 bytes).
#include <algorithm>

#include "mp4/box.hpp"
#include "mp4/codec.hpp"
#include "mp4/sample_entry.hpp"
#include "require.hpp"

namespace {

using namespace mc;
using namespace mc::mp4;

void check_entry(ByteView entry) {
  const auto header = read_box_header(entry);
  require(header && header->complete && header->size_bytes == entry.size());
  require(!codec_string(entry).empty());
  for (const TrackKind kind : {TrackKind::video, TrackKind::audio}) entry_format(entry, kind);
}

// 4-byte lengths that fill the frame exactly.
void check_framing(ByteView data) {
  while (!data.empty()) {
    require(data.size() >= 4);
    const std::uint64_t length = load_be(data.data(), 4);
    require(length <= data.size() - 4);
    data = data.subspan(4 + static_cast<std::size_t>(length));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FieldReader in(ByteView(data, size));
  CodecParameters parameters;
  parameters.codec = static_cast<Codec>(in.u8() % 7);
  const std::size_t extradata_bytes = std::min<std::size_t>(in.u16(), in.left());
  const ByteView extradata = in.take(extradata_bytes);
  parameters.extradata.assign(extradata.begin(), extradata.end());
  const bool has_nals = parameters.codec == Codec::h264 || parameters.codec == Codec::hevc;
  NalFramer framer(parameters);
  check_entry(extradata.size() >= 8 && read_box_header(extradata) && read_box_header(extradata)->complete &&
                      read_box_header(extradata)->size_bytes == extradata.size()
                  ? extradata
                  : ByteView(as_bytes(std::string_view("\0\0\0\x08test", 8))));
  bool first = true;
  while (first || in.left() > 2) {
    first = false;
    const std::size_t wanted = in.u16();
    const ByteView packet = in.take(std::min(wanted, in.left()));
    if (const auto entry = make_sample_entry(parameters, packet)) check_entry(*entry);
    is_key_frame(parameters.codec, packet);
    require(packet_samples(parameters.codec, parameters.extradata, packet) <= 1U << 24);
    require(without_temporal_delimiters(packet).size() <= packet.size());
    require(without_adts(packet).size() <= packet.size());
    if (!has_nals) continue;
    if (const auto frame = framer.normalise(packet)) {
      check_framing(frame->data);
      if (frame->sample_entry) check_entry(*frame->sample_entry);
    }
  }
  return 0;
}
