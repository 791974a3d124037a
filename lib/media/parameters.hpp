// What a container leaves unsaid about a stream, from its first packets.
#pragma once

#include "media/stream.hpp"

namespace mc::media {

// Looks into `packet` of `stream` (of a picture: a key frame) for what parameters lack: the size of the picture and its
// reorder delay from the parameter sets, rate and channels of AAC from its ADTS header, of FLAC from STREAMINFO. Fills
// in only what is missing. Cheap when nothing is; otherwise it asks libavcodec once. Never fails: what stays missing is
// found out by mp4::make_sample_entry.
void complete_parameters(Stream& stream, ByteView packet);

}  // namespace mc::media
