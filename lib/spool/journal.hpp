// The journal of the chunk being recorded: every frame is durable here before it is acknowledged, and the finished
// chunk is built from it alone (mc-spool-format(5)).
//
// File `.journal-000007` belongs to chunk 7, and so does `.journal-000007.2`: after a flush that failed everything is
// written again to a new file, since what the kernel still holds of the old one may never reach the disk. The files of
// one chunk are beginnings of one and the same sequence of records, so the one that says most is right.
//
// A file is a sequence of records, big endian:
//
//   u32 magic "MCJ2" · u32 payload length · u32 sequence, from 0 · u8 type · u32 CRC-32C of the journal's key (chunk
//   u32, i64 t0), the 9 bytes before it (length, sequence, type) and the payload · payload
//
//   1 head    chunk u32 · init u32 · i64 t0 (Unix ns) · u16 n · n × (track u32 · u64 decode time of its last frame so
//             far)
//   2 frame   u32 track · u32 description · u64 decode time · u32 duration · i32 composition offset ·
//             u8 flags (1 sync, 2 first of a continued stream) · i64 arrival (Unix ns) · the coded frame
//   3 event   i64 time in ns on the recording's timeline · JSON
//   4 seal    u16 n · n × (track u32 · u32 duration of its last frame); nothing follows
//
// A record counts when it is whole and its CRC is right. Where one does not, a crash cut the file off, mostly: a tail
// of zeros or of an older use of the blocks does not look like a record of this journal. Whole records of a later
// sequence behind that (a damaged sector, or a write whose parts reached the disk out of order) count as well; in
// between stands then an event `gap` with reason `journal-damaged`.
//
// After a crash: no record: nothing was acknowledged. No seal: the chunk was not staged, the last durations are
// free. Seal: the chunk may be published already, and building it again gives the same bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/units.hpp"
#include "mp4/fragment.hpp"
#include "sys/file_system.hpp"

namespace mc::spool {

struct JournalHead {
  ChunkNumber chunk;
  InitNumber init;
  std::int64_t t0_wall_ns = 0;
  struct Last {
    std::uint32_t track = 0;
    std::uint64_t decode_time = 0;
    bool operator==(const Last&) const = default;
  };
  std::vector<Last> last;  // of each track that had a frame before this chunk
  bool operator==(const JournalHead&) const = default;
};
struct JournalFrame {
  mp4::Sample sample;
  bool continues = false;  // the first frame of its track after a restart
  std::int64_t arrival_ns = 0;
  ByteBuffer data;
};
struct JournalEvent {
  std::int64_t time_ns = 0;
  std::string json;
};
struct JournalSeal {
  struct Last {
    std::uint32_t track = 0;
    std::uint32_t duration = 0;
  };
  std::vector<Last> last;
};
using JournalEntry = std::variant<JournalFrame, JournalEvent>;

// What the journal of one chunk says.
struct JournalContent {
  std::optional<JournalHead> head;
  std::vector<JournalEntry> entries;  // in the order of arrival
  std::optional<JournalSeal> seal;
  std::uint64_t intact_bytes = 0;  // up to the end of the last record that counts
  std::uint64_t torn_bytes = 0;    // behind that
  bool damaged_inside = false;     // there is something before that end that does not count
};

// What a journal's records are bound to, so that none of another one's is ever taken for its own.
struct JournalKey {
  ChunkNumber chunk;
  std::int64_t t0_wall_ns = 0;
};

// A journal's file: the generation counts the times that the chunk's records were written anew, from 1.
struct JournalName {
  ChunkNumber chunk;
  std::uint32_t generation = 1;
  auto operator<=>(const JournalName&) const = default;
};
std::string journal_name(ChunkNumber chunk, std::uint32_t generation = 1);
std::optional<JournalName> parse_journal_name(std::string_view name);  // nothing: not a journal's name

// Parses what is there; never fails. The head tells the key; `otherwise` is for a journal whose head is damaged.
JournalContent parse_journal(ByteView bytes, const std::optional<JournalKey>& otherwise = {});
// Does `a` say more of its chunk than `b`?
bool says_more(const JournalContent& a, const JournalContent& b);

// Appends records. add_* only collects; `hand_over` gives what was collected to the kernel in one write(2), where it
// survives the death of this process; `flush` makes it durable as well. After an error of flush the file must not be
// used again; `rewrite` starts another.
class JournalWriter {
 public:
  // Makes the file with its head, durable, its name included. A generation whose file exists already is stepped over.
  static Result<JournalWriter> create(sys::FileSystem& fs, const std::string& directory, const JournalHead& head,
                                      std::uint32_t generation = 1);

  void add(const JournalEntry& entry);
  void add_seal(const JournalSeal& seal);
  bool is_flushed() const { return flushed_; }
  void hand_over();  // an error is flush's to tell
  Status flush();
  // All of it (the head as it was created) into a file of the next generation, durable; the old file goes. On an error
  // this writer is as it was.
  Status rewrite(sys::FileSystem& fs, const std::string& directory, std::span<const JournalEntry> entries,
                 const JournalSeal* seal);
  // Removes the chunk's files, all generations. Not synced: one that comes back is dropped by recovery.
  Status remove(sys::FileSystem& fs) const;
  const std::string& path() const { return path_; }

 private:
  JournalWriter() = default;
  void add_record(std::uint8_t type, ByteView fields, ByteView data);

  std::unique_ptr<sys::File> file_;
  std::string path_;
  std::vector<std::string> distrusted_;  // files of earlier generations that could not be removed
  JournalHead head_;
  std::uint32_t generation_ = 1;
  ByteBuffer pending_;
  bool flushed_ = true;
  std::optional<Error> failed_;
  std::uint32_t sequence_ = 0;
  std::uint32_t key_crc_ = 0;
};

}  // namespace mc::spool
