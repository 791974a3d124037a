// The boxes that a moov has whether its samples follow in fragments or are listed in it (ISO/IEC 14496-12 8.2 to 8.4,
// 8.7.1, 8.9). Inside of this module only: movie.cpp and progressive.cpp build their moov from them.
//
// Every duration is version 1, 64 bit; creation and modification times are 0, so that the same recording always gives
// the same bytes. Values are appended big endian to `out`.
#pragma once

#include <cstdint>

#include "mp4/box.hpp"
#include "mp4/movie.hpp"

namespace mc::mp4 {

inline void append_zeros(ByteBuffer& out, std::size_t n) { out.resize(out.size() + n); }

// For mvhd.next_track_ID: above every id that `id` is called with, starting from 1.
std::uint32_t id_above(std::uint32_t id, std::uint32_t next);

void write_mvhd(std::uint32_t timescale, std::uint64_t duration, std::uint32_t next_track_id, ByteBuffer& out);
void write_tkhd(const Track& track, std::uint64_t duration_in_movie_time, ByteBuffer& out);
void write_mdhd(const Track& track, std::uint64_t duration_in_track_time, ByteBuffer& out);
void write_hdlr(TrackKind kind, ByteBuffer& out);
void write_media_header(TrackKind kind, ByteBuffer& out);  // vmhd, smhd or nmhd
void write_dinf(ByteBuffer& out);                          // the media is in this file
void write_stsd(const Track& track, ByteBuffer& out);
// The description of the group that all sound samples with a roll distance are in; nothing without one.
void write_roll_sgpd(const Track& track, ByteBuffer& out);

}  // namespace mc::mp4
