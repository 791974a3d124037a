// What a joined file consists of, byte by byte, before any of it is written: the exact length, a head that is in
// memory, and the ranges of the chunks that follow it. The tool copies a plan (join/copy.hpp); a server can answer any
// range of the same file from the same plan without having it.
//
//   MC_TRY_ASSIGN(auto loaded, spool::load_manifest(fs, directory));
//   MC_TRY_ASSIGN(auto plan, join::make_plan(loaded, join::directory_reader(fs, directory)));
//
// The file is `ftyp moov mdat`, in the chunks' own interleaving, on the recording's timeline: 0 is its t0. The same
// files give the same plan, whoever makes it and when.
//
// Trust. Planning reads the heads of the chunks and takes the manifest's word for the rest: only who copies every byte
// can compare the hashes. What a plan says is checked as far as it can be without that (lengths, order, bounds).
// Memory: the sample tables (about 12 bytes a frame) and 32 bytes a fragment; never media.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "spool/recording.hpp"
#include "sys/file_system.hpp"

namespace mc::join {

// Up to into.size() bytes of the recording's file `name` at `offset`; fewer only at its end. Kind not_found: no such
// file. Called by one thread at a time, each file's reads in a row.
using Reader =
    std::function<Result<std::size_t>(const std::string& name, std::uint64_t offset, std::span<std::uint8_t> into)>;
Reader directory_reader(sys::FileSystem& fs, std::string directory);  // keeps the last file open

// A chunk that the joined file draws from; in the order of the recording.
struct PlannedFile {
  std::string name;
  std::string sha256;  // of the whole file, as the manifest says
  std::uint64_t bytes = 0;
};
// `length` bytes of files[file] at `offset` stand at `position` of the joined file.
struct Range {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t position = 0;
};

struct Plan {
  ByteBuffer head;                 // from position 0
  std::vector<Range> ranges;       // from head.size() on, in rising order and without holes
  std::vector<PlannedFile> files;  // every chunk, also one without a range
  std::uint64_t size_bytes = 0;    // of the joined file
  bool closed = false;             // the manifest has its end: this is the whole recording
  bool has_picture = false;
  std::uint64_t video_frames = 0, audio_frames = 0;
  double duration_s = 0;            // of the presentation, from t0 on
  std::uint32_t chapters = 0;       // the recording's marks
  std::uint32_t chapters_left = 0;  // marks for which there was no room
};

enum class Tracks : std::uint8_t { all, sound };  // what of the recording the joined file has

// Kind not_found: no sound in it, when that is what is wanted. Kind damaged, naming the file: a manifest with damaged
// lines or a wrong root, no chunks at all, a missing file, one of the wrong length, the init with a wrong hash, a chunk
// whose boxes do not fit its init or run back in time. An open recording gives what it has committed so far.
Result<Plan> make_plan(const spool::LoadedManifest& loaded, const Reader& read, Tracks tracks = Tracks::all);

}  // namespace mc::join
