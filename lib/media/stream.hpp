// What a source says about its streams, and the packets that it gives: the common words of the readers, the fragmenter
// and the capture.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "mp4/codec.hpp"

namespace mc::media {

// Seconds per tick. Both parts are above zero.
struct TimeBase {
  std::int64_t numerator = 1;
  std::int64_t denominator = 1;
  bool operator==(const TimeBase&) const = default;
};

enum class StreamKind : std::uint8_t {
  picture,
  sound,
  events,  // `mcev`: each packet is one JSON object
  other,   // subtitles, data, codecs that a recording does not take
};

using Tags = std::map<std::string, std::string>;

struct Stream {
  StreamKind kind = StreamKind::other;
  std::string codec_name;  // for messages
  // Picture and sound of a codec that a recording takes. May lack what the container does not say (extradata, size,
  // rate): see parameters.hpp.
  std::optional<mp4::CodecParameters> parameters;
  TimeBase time_base;
  // How many pictures the decoder holds back before it shows the first: 0 without B-frames.
  std::uint32_t decode_delay = 0;
  bool decode_delay_known = true;  // false: the container does not say, and the codec may reorder
  // The declared interval of the picture, or the declared frame of the sound, in ticks; 0 = not declared.
  std::int64_t nominal_ticks = 0;
  // A guess at the interval where none is declared; good enough to extrapolate with, never to find holes with.
  std::int64_t guessed_ticks = 0;
  // Samples (at the stream's sample rate) that the decoder gives before the first wanted one; nothing = not stated.
  std::optional<std::uint32_t> priming_samples;
  Tags tags;
};

// One coded frame. `data` is a view that holds until the source is asked for the next packet.
struct Packet {
  std::uint32_t stream = 0;         // index into streams()
  std::optional<std::int64_t> pts;  // ticks of the stream's time base; nothing = the container gives none
  bool key = false;                 // as the container says
  ByteView data;
};

}  // namespace mc::media
