// Recordings made on a SimFileSystem for the crash tests: their operations, and what was acknowledged when.
//
//   Recorded r = record(shape);               // ten chunks, shaped by a seed
//   OpLog log = interleave(r.log, 7);         // the same with the publisher's thread running late, another way per
//   seed
//
// A frame's bytes follow from its track and time, so that the right bytes can be asked for afterwards. Clock and ids
// are fixed: the same shape always gives the same operations.
#pragma once

#include <functional>
#include <memory>

#include "crash/sim_file_system.hpp"
#include "spool/recorder.hpp"

namespace mc::crash {

inline constexpr char kDirectory[] = "spool/s/001/alice";
inline constexpr char kRecordingId[] = "00112233445566778899aabbccddeeff";  // of every recording here

struct Frame {
  std::uint32_t track = 0;
  std::uint64_t decode_time = 0;
  bool operator==(const Frame&) const = default;
};
ByteBuffer frame_bytes(const Frame& frame, std::size_t size);
// Are these the bytes of that frame, whatever their number?
bool is_frame(const Frame& frame, ByteView bytes);

struct Shape {
  std::uint32_t seed = 1;        // sizes of frames, which frames share a commit, where a hole is
  bool picture = true;           // or sound alone
  std::uint32_t largest = 3000;  // bytes of a picture
  bool new_parameters = false;   // in the middle: a second init
  bool hole = false;             // with its reason in band
  bool mark = false;
  bool continued = false;    // the first half ends in a power cut; recovered and gone on with
  bool made_before = false;  // its directory is there already, made by somebody who synced nothing
  bool disk_full = false;    // ends for want of room instead of closing
};
Shape shape_of(std::uint32_t number);  // a different one for each number

struct Recorded {
  SimFileSystem start;  // what was there before the first operation of `log`, durable
  OpLog log;
  std::vector<Frame> acknowledged;  // AcknowledgeOp counts these
  std::size_t acknowledged_before = 0;
  bool picture = true;
  bool whole = false;  // it went to its end, as the shape says
};

// Wraps the file system that the recorder sees: the identity, or a mutant.
using Wrap = std::function<std::unique_ptr<sys::FileSystem>(SimFileSystem&)>;
Recorded record(const Shape& shape, const Wrap& wrap = {});

// The chunks are published inside the recorder's own calls when recording; here these operations come later, between
// those of the frames that follow, as they may when they run on a thread of their own. Each thread's own order stays,
// the chunks' order too, and a new init waits for all of them.
OpLog interleave(const OpLog& log, std::uint32_t seed);

// Goes on with what recovery left and closes it, as the next run would.
Status continue_and_close(SimFileSystem& fs, bool picture);

}  // namespace mc::crash
