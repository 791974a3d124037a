#include "spool/journal.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "base/crc32c.hpp"
#include "mp4/box.hpp"

namespace mc::spool {
namespace {

constexpr std::uint32_t kMagic = 0x4D434A32;  // "MCJ2"
constexpr std::size_t kHeaderBytes = 17;
constexpr std::size_t kCoveredAt = 4;     // the CRC covers the header from here …
constexpr std::size_t kCoveredBytes = 9;  // … for so long, and the payload
constexpr std::uint8_t kHead = 1, kFrame = 2, kEvent = 3, kSeal = 4;
constexpr std::uint8_t kSync = 1, kContinues = 2;
constexpr char kPrefix[] = ".journal-";
constexpr char kLostRecords[] = R"({"event":"gap","reason":"journal-damaged"})";

// What the CRC of each record begins with.
std::uint32_t crc_of(const JournalKey& key) {
  ByteBuffer fields;
  append_be(fields, key.chunk.value, 4);
  append_be(fields, static_cast<std::uint64_t>(key.t0_wall_ns), 8);
  return crc32c(fields);
}

ByteBuffer head_fields(const JournalHead& head) {
  ByteBuffer out;
  append_be(out, head.chunk.value, 4);
  append_be(out, head.init.value, 4);
  append_be(out, static_cast<std::uint64_t>(head.t0_wall_ns), 8);
  append_be(out, head.last.size(), 2);
  for (const auto& last : head.last) {
    append_be(out, last.track, 4);
    append_be(out, last.decode_time, 8);
  }
  return out;
}

std::optional<JournalHead> parse_head(mp4::FieldReader in) {
  JournalHead head;
  head.chunk.value = in.u32();
  head.init.value = in.u32();
  head.t0_wall_ns = static_cast<std::int64_t>(in.u64());
  const std::size_t n = in.u16();
  for (std::size_t i = 0; i < n && in.ok(); ++i) {
    const std::uint32_t track = in.u32();
    head.last.push_back({track, in.u64()});
  }
  if (!in.ok() || in.left() != 0) return std::nullopt;
  return head;
}

std::optional<JournalFrame> parse_frame(mp4::FieldReader in) {
  JournalFrame frame;
  frame.sample.track_id = in.u32();
  frame.sample.description = in.u32();
  frame.sample.decode_time = in.u64();
  frame.sample.duration = in.u32();
  frame.sample.composition_offset = static_cast<std::int32_t>(in.u32());
  const std::uint8_t flags = in.u8();
  frame.sample.sync = (flags & kSync) != 0;
  frame.continues = (flags & kContinues) != 0;
  frame.arrival_ns = static_cast<std::int64_t>(in.u64());
  if (!in.ok()) return std::nullopt;
  const ByteView data = in.rest();
  frame.data.assign(data.begin(), data.end());
  frame.sample.size_bytes = static_cast<std::uint32_t>(data.size());
  return frame;
}

std::optional<JournalEvent> parse_event(mp4::FieldReader in) {
  JournalEvent event;
  event.time_ns = static_cast<std::int64_t>(in.u64());
  if (!in.ok()) return std::nullopt;
  event.json = as_text(in.rest());
  return event;
}

std::optional<JournalSeal> parse_seal(mp4::FieldReader in) {
  JournalSeal seal;
  const std::size_t n = in.u16();
  for (std::size_t i = 0; i < n && in.ok(); ++i) {
    const std::uint32_t track = in.u32();
    seal.last.push_back({track, in.u32()});
  }
  if (!in.ok() || in.left() != 0) return std::nullopt;
  return seal;
}

struct Record {
  std::uint32_t sequence = 0;
  std::uint8_t type = 0;
  ByteView payload;
};

// The record that `bytes` begin with, when it is whole and its CRC is right.
std::optional<Record> read_record(ByteView bytes, std::uint32_t key_crc) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  mp4::FieldReader header(bytes.first(kHeaderBytes));
  const std::uint32_t magic = header.u32();
  const std::uint32_t length = header.u32();
  Record record;
  record.sequence = header.u32();
  record.type = header.u8();
  const std::uint32_t crc = header.u32();
  if (magic != kMagic || length > bytes.size() - kHeaderBytes) return std::nullopt;
  record.payload = bytes.subspan(kHeaderBytes, length);
  if (crc32c(record.payload, crc32c(bytes.subspan(kCoveredAt, kCoveredBytes), key_crc)) != crc) return std::nullopt;
  return record;
}

// The head, which says itself what its CRC must begin with.
std::optional<JournalHead> read_head(ByteView bytes) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  mp4::FieldReader length_field(bytes.subspan(kCoveredAt, 4));
  const std::uint32_t length = length_field.u32();
  if (length > bytes.size() - kHeaderBytes) return std::nullopt;
  auto head = parse_head(mp4::FieldReader(bytes.subspan(kHeaderBytes, length)));
  if (!head) return std::nullopt;
  const auto record = read_record(bytes, crc_of({head->chunk, head->t0_wall_ns}));
  return record && record->type == kHead && record->sequence == 0 ? head : std::nullopt;
}

// False: not a record that may stand behind the head.
bool take_record(JournalContent& content, std::uint8_t type, ByteView payload) {
  if (content.seal) return false;
  const mp4::FieldReader in(payload);
  switch (type) {
    case kFrame:
      if (auto frame = parse_frame(in)) {
        content.entries.emplace_back(std::move(*frame));
        return true;
      }
      return false;
    case kEvent:
      if (auto event = parse_event(in)) {
        content.entries.emplace_back(std::move(*event));
        return true;
      }
      return false;
    case kSeal: content.seal = parse_seal(in); return content.seal.has_value();
    default: return false;
  }
}

// The first whole record from `at` on whose sequence is `least` or more, and where it stands.
struct FoundRecord {
  Record record;
  std::size_t at = 0;
};
std::optional<FoundRecord> find_record(ByteView bytes, std::size_t at, std::uint32_t least, std::uint32_t key_crc) {
  for (; at + kHeaderBytes <= bytes.size(); ++at) {
    if (bytes[at] != kMagic >> 24U) continue;
    const auto record = read_record(bytes.subspan(at), key_crc);
    if (record && record->sequence >= least && record->type != kHead) return FoundRecord{*record, at};
  }
  return std::nullopt;
}

}  // namespace

std::string journal_name(ChunkNumber chunk, std::uint32_t generation) {
  std::array<char, 48> text{};
  const int n = generation <= 1
                    ? std::snprintf(text.data(), text.size(), "%s%06u", kPrefix, chunk.value)
                    : std::snprintf(text.data(), text.size(), "%s%06u.%u", kPrefix, chunk.value, generation);
  return {text.data(), static_cast<std::size_t>(n)};
}

std::optional<JournalName> parse_journal_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* at = name.data() + sizeof kPrefix - 1;
  const char* const end = name.data() + name.size();
  JournalName parsed;
  auto number = std::from_chars(at, end, parsed.chunk.value);
  if (number.ec == std::errc{} && number.ptr != end && *number.ptr == '.') {
    number = std::from_chars(number.ptr + 1, end, parsed.generation);
  }
  // One spelling only: what would not be written so is not a journal.
  if (number.ec != std::errc{} || number.ptr != end || journal_name(parsed.chunk, parsed.generation) != name) {
    return std::nullopt;
  }
  return parsed;
}

bool says_more(const JournalContent& a, const JournalContent& b) {
  if (a.seal.has_value() != b.seal.has_value()) return a.seal.has_value();
  if (a.entries.size() != b.entries.size()) return a.entries.size() > b.entries.size();
  return a.head.has_value() && !b.head.has_value();
}

JournalContent parse_journal(ByteView bytes, const std::optional<JournalKey>& otherwise) {
  JournalContent content;
  std::size_t at = 0;
  std::uint32_t sequence = 1;  // that is expected next
  content.head = read_head(bytes);
  std::optional<JournalKey> key = otherwise;
  if (content.head) {
    key = JournalKey{content.head->chunk, content.head->t0_wall_ns};
    at = kHeaderBytes + head_fields(*content.head).size();
  }
  const std::uint32_t key_crc = key ? crc_of(*key) : 0;
  std::int64_t time_ns = 0;  // of the newest event
  while (key) {
    const auto found = find_record(bytes, at, sequence, key_crc);
    if (!found) break;
    content.damaged_inside = content.damaged_inside || found->at != at;
    if (found->record.sequence != sequence) content.entries.emplace_back(JournalEvent{time_ns, kLostRecords});
    if (!take_record(content, found->record.type, found->record.payload)) break;
    if (const auto* event = content.entries.empty() ? nullptr : std::get_if<JournalEvent>(&content.entries.back())) {
      time_ns = event->time_ns;
    }
    sequence = found->record.sequence + 1;
    at = found->at + kHeaderBytes + found->record.payload.size();
  }
  content.intact_bytes = at;
  content.torn_bytes = bytes.size() - at;
  return content;
}

Result<JournalWriter> JournalWriter::create(sys::FileSystem& fs, const std::string& directory, const JournalHead& head,
                                            std::uint32_t generation) {
  constexpr int kAttempts = 8;
  JournalWriter writer;
  writer.head_ = head;
  writer.key_crc_ = crc_of({head.chunk, head.t0_wall_ns});
  for (int attempt = 1;; ++attempt, ++generation) {
    writer.path_ = sys::join_path(directory, journal_name(head.chunk, generation));
    auto file = fs.create(writer.path_);
    if (file) {
      writer.file_ = std::move(*file);
      break;
    }
    if (file.error().sys_errno != EEXIST || attempt == kAttempts) return fail(std::move(file).error());
  }
  writer.generation_ = generation;
  writer.add_record(kHead, head_fields(head), {});
  MC_TRY(writer.flush());
  // Without this the whole journal, frames and all, may be gone after a power cut: its name was never durable.
  MC_TRY(fs.sync_directory(directory));
  return writer;
}

Status JournalWriter::rewrite(sys::FileSystem& fs, const std::string& directory, std::span<const JournalEntry> entries,
                              const JournalSeal* seal) {
  MC_TRY_ASSIGN(JournalWriter next, create(fs, directory, head_, generation_ + 1));
  for (const JournalEntry& entry : entries) next.add(entry);
  if (seal != nullptr) next.add_seal(*seal);
  MC_TRY(next.flush());
  next.distrusted_ = std::move(distrusted_);
  if (!fs.remove(path_)) next.distrusted_.push_back(path_);  // it says less than the new one, and does no harm
  *this = std::move(next);
  return {};
}

Status JournalWriter::remove(sys::FileSystem& fs) const {
  for (const std::string& path : distrusted_) (void)fs.remove(path);
  return fs.remove(path_);
}

void JournalWriter::add_record(std::uint8_t type, ByteView fields, ByteView data) {
  const std::size_t start = pending_.size();
  flushed_ = false;
  append_be(pending_, kMagic, 4);
  append_be(pending_, fields.size() + data.size(), 4);
  append_be(pending_, sequence_++, 4);
  append_be(pending_, type, 1);
  const std::uint32_t covered = crc32c({pending_.data() + start + kCoveredAt, kCoveredBytes}, key_crc_);
  append_be(pending_, crc32c(data, crc32c(fields, covered)), 4);
  append(pending_, fields);
  append(pending_, data);
}

void JournalWriter::add(const JournalEntry& entry) {
  ByteBuffer fields;
  if (const auto* event = std::get_if<JournalEvent>(&entry)) {
    append_be(fields, static_cast<std::uint64_t>(event->time_ns), 8);
    add_record(kEvent, fields, as_bytes(event->json));
    return;
  }
  const auto& frame = std::get<JournalFrame>(entry);
  fields.reserve(40);
  append_be(fields, frame.sample.track_id, 4);
  append_be(fields, frame.sample.description, 4);
  append_be(fields, frame.sample.decode_time, 8);
  append_be(fields, frame.sample.duration, 4);
  append_be(fields, static_cast<std::uint32_t>(frame.sample.composition_offset), 4);
  append_be(fields, (frame.sample.sync ? kSync : 0U) | (frame.continues ? kContinues : 0U), 1);
  append_be(fields, static_cast<std::uint64_t>(frame.arrival_ns), 8);
  add_record(kFrame, fields, frame.data);
}

void JournalWriter::add_seal(const JournalSeal& seal) {
  ByteBuffer fields;
  append_be(fields, seal.last.size(), 2);
  for (const auto& last : seal.last) {
    append_be(fields, last.track, 4);
    append_be(fields, last.duration, 4);
  }
  add_record(kSeal, fields, {});
}

void JournalWriter::hand_over() {
  if (pending_.empty() || failed_) return;
  if (Status written = file_->write(pending_); !written) failed_ = std::move(written).error();
  pending_.clear();
}

Status JournalWriter::flush() {
  if (flushed_) return {};
  hand_over();
  if (failed_) return fail(*failed_);
  if (Status synced = file_->sync_data(); !synced) {
    failed_ = synced.error();
    return synced;
  }
  flushed_ = true;
  return {};
}

}  // namespace mc::spool
