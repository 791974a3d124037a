// The manifest (mc-manifest in mc-spool-format(5)): what a recording consists of and what happened to it, as text that
// `sha256sum -c --strict` accepts. This module knows lines; hashing and files are `spool`'s.
//
//   # maycast-manifest 1 crc=…
//   # recording ID SESSION/TAKE/GUEST crc=…
//   # t0 2026-11-22T10:00:00.000000000Z bound-us=340 crc=…
//   # init 1 bytes=1234 tracks=1:video:90000:3000:avc1.64001f,2:audio:48000:1024:mp4a.40.2 crc=…
//   <sha256>  init_001.mp4
//   # chunk 1 bytes=812345 t=0/48000 dur=48000/48000 video=30 audio=47 init=1 crc=…
//   # gap track=1 from=90000/90000 to=180000/90000 reason=device-lost crc=…
//   # mark t=1500/1000 text=chapter%20one crc=…
//   <sha256>  chunk_000001.m4s
//   # end chunks=3600 root=<sha256> crc=…
//
// A `#` line is `# KEYWORD words and key=value … crc=XXXXXXXX`: CRC-32C (8 hexadecimal digits) of the line's bytes
// before " crc=". Values and words are percent-encoded (spaces, control characters, '%', '='; other UTF-8 stands as it
// is). Unknown keywords are kept. A `# chunk` or `# init` line belongs to the next hash line, and so do the ledger
// lines (gap, mark, …) between the two: they are one write, and the hash line commits them all. A crash in between
// leaves a torn tail, which does not count.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "wire/names.hpp"

namespace mc::wire {

inline constexpr int kManifestVersion = 1;

struct TrackSummary {
  std::uint32_t id = 0;
  std::string kind;  // "video", "audio", "other"
  std::uint32_t timescale = 1;
  std::uint32_t nominal_duration = 0;  // ticks; 0 = variable
  std::string codec;                   // RFC 6381
  bool operator==(const TrackSummary&) const = default;
};
struct InitLine {
  InitNumber number;
  std::uint64_t bytes = 0;
  std::vector<TrackSummary> tracks;
  bool operator==(const InitLine&) const = default;
};
struct ChunkLine {
  ChunkNumber number;
  std::uint64_t bytes = 0;
  MediaTime start;                     // decode time of the first frame of the reference track
  MediaTime duration;                  // of the reference track's frames in it
  std::uint32_t video = 0, audio = 0;  // frames, all tracks of the kind together
  InitNumber init;
  bool operator==(const ChunkLine&) const = default;
};
struct GapLine {
  std::uint32_t track = 0;
  MediaTime from, to;  // on the track's timeline; equal: the writer stopped there, the rest of the hole is not known
  std::string reason;  // one word; mc-spool-format(5) lists them
  bool operator==(const GapLine&) const = default;
};
// Any other keyword: mark, clock, guardian, event, …
struct NoteLine {
  std::string keyword;
  std::vector<std::pair<std::string, std::string>> values;  // decoded; a bare word has an empty key
  std::optional<std::string> value(std::string_view key) const;
  std::optional<MediaTime> time() const;  // of "t"
  bool operator==(const NoteLine&) const = default;
};

// A file that the manifest commits, with the description that preceded its hash line.
struct ManifestFile {
  std::string name;
  std::string sha256;  // 64 hexadecimal digits
  std::optional<InitLine> init;
  std::optional<ChunkLine> chunk;
  std::uint64_t bytes() const { return chunk ? chunk->bytes : init ? init->bytes : 0; }
};

struct ManifestDamage {
  std::size_t line = 0;  // from 1
  std::string what;      // "crc does not match", …
};

struct Manifest {
  int version = 0;  // 0: no header line was found
  std::string recording_id;
  std::optional<RecordingPath> path;
  std::optional<std::int64_t> t0_wall_ns;
  std::int64_t bound_us = -1;       // -1: not stated
  std::vector<ManifestFile> files;  // in the order of the file
  std::vector<GapLine> gaps;
  std::vector<NoteLine> notes;
  struct End {
    std::uint32_t chunks = 0;
    std::string root;              // as the line says; check it against the bytes before `end_offset`
    std::uint64_t end_offset = 0;  // where the `# end` line begins
  };
  std::optional<End> end;              // nothing: an open recording
  std::vector<ManifestDamage> damage;  // lines that are not what they should be, torn tail excluded
  std::uint64_t intact_bytes = 0;      // up to here every line is whole and every chunk/init line has its hash line
  bool torn_tail = false;              // bytes behind that: a write that a crash cut off

  const ManifestFile* find(std::string_view name) const;
  std::uint32_t chunk_count() const;
};

// Never fails: damage and a torn tail are part of the answer. Also found as damage: a second header, numbers that are
// not consecutive from 1, a name twice, a name that is none, text after `# end`.
Manifest parse_manifest(ByteView bytes);

// The same of a manifest that grows, without reading again what was read:
//
//   ManifestReader reader;
//   reader.read(bytes of the file from reader.manifest().intact_bytes on);   // … and again when there are more
//
// What lies behind `intact_bytes` is not committed: recovery may cut it off and write something else, so it is read
// again each time.
class ManifestReader {
 public:
  ManifestReader();
  ManifestReader(ManifestReader&&) noexcept;
  ManifestReader& operator=(ManifestReader&&) noexcept;
  ~ManifestReader();

  void read(ByteView more);
  const Manifest& manifest() const;
  Manifest take() &&;

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

// The length of the whole line that `text` begins with, without its newline: a `#` line whose CRC is right, or a hash
// line of a chunk or an init. 0: it begins with none. What follows a whole line is its newline, or that newline
// damaged.
std::size_t whole_line_length(std::string_view text);
// A write that a crash cut off leaves the beginning of a line, and at most zeros behind it. Is what stands behind the
// last newline of `text` something else: a line that is all there and goes on, as one whose newline was damaged does?
bool has_damaged_newline(std::string_view text);
// A `#` line (without newline, at most kMaxMendedBytes) with one byte put right, so that its CRC is. Nothing when no
// byte does that, or when the line is whole already.
std::optional<std::string> mend_line(std::string_view line);
inline constexpr std::size_t kMaxMendedBytes = 1024;

std::string header_line();
std::string recording_line(const std::string& recording_id, const RecordingPath& path);
std::string t0_line(std::int64_t wall_ns, std::int64_t bound_us);         // bound_us < 0: left out
std::string init_lines(const InitLine& init, const std::string& sha256);  // both lines
// The description, `ledger` (gap_line and note_line texts, or nothing), the hash line.
std::string chunk_lines(const ChunkLine& chunk, const std::string& sha256, const std::string& ledger = {});
std::string gap_line(const GapLine& gap);
std::string note_line(const NoteLine& note);
std::string end_line(std::uint32_t chunks, const std::string& root);

}  // namespace mc::wire
