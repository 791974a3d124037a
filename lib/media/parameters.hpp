// What a container leaves unsaid about a stream, from its first packets.
#pragma once

#include "media/stream.hpp"

namespace mc::media {

// Looks into `packet` of `stream` for what parameters lack: the size of the picture and its reorder delay from the
// parameter sets, rate and channels of AAC from its ADTS header, of FLAC and Opus from theirs. Fills in only what is
// missing. Cheap when nothing is; otherwise it asks libavcodec's parser once. Never fails: what stays missing is found
// out by mp4::make_sample_entry.
void complete_parameters(Stream& stream, ByteView packet);

// How many pictures a decoder of these parameters holds back (B-frames), and the frame interval in ticks where the
// parameter sets state one (0 else).
struct PictureTiming {
  std::uint32_t decode_delay = 0;
  std::int64_t interval_ticks = 0;
};
PictureTiming picture_timing(const mp4::CodecParameters& parameters, const TimeBase& time_base);

}  // namespace mc::media
