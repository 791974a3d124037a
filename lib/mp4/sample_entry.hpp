// Reading sample entries (ISO/IEC 14496-12 8.5.2, 12.1.3, 12.2.3): the fixed fields, and the boxes behind them.
// Inside mp4 only; entries are written by codec.hpp.
#pragma once

#include <cstdint>

#include "mp4/box.hpp"
#include "mp4/movie.hpp"

namespace mc::mp4 {

inline constexpr std::size_t kVisualEntryBytes = 86;  // box header and fixed fields of a VisualSampleEntry
inline constexpr std::size_t kAudioEntryBytes = 36;   // of an AudioSampleEntry version 0

// The payload of the first box `type` inside `entry` (whole, header included), whose fixed fields are those of `kind`.
// Empty: none, or the entry is not whole. QuickTime's longer sound entries (versions 1 and 2) are understood.
ByteView entry_child(ByteView entry, TrackKind kind, FourCc type);

// The AudioSpecificConfig in the esds of an mp4a entry; empty: none.
ByteView entry_decoder_config(ByteView entry);

// What an entry says about the picture or the sound; zeros where it says nothing.
struct EntryFormat {
  std::uint16_t width = 0, height = 0;
  std::uint32_t pixel_width = 1, pixel_height = 1;  // pasp
  std::uint32_t sample_rate = 0;
  std::uint16_t channels = 0;
};
EntryFormat entry_format(ByteView entry, TrackKind kind);

}  // namespace mc::mp4
