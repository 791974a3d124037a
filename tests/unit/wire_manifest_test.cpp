#include <gtest/gtest.h>

#include "base/crc32c.hpp"
#include "wire/manifest.hpp"

namespace mc::wire {
namespace {

const std::string kHash(64, 'a');
const std::string kId(32, '0');

std::string small_manifest(bool closed) {
  std::string text = header_line() + recording_line(kId, {"studio-a", "001", "alice"}) +
                     t0_line(1'700'000'000'123'456'789, 340) +
                     init_lines({InitNumber{1}, 900, {{1, "video", 90000, 3000, "avc1.64001f"}}}, kHash);
  text += chunk_lines({ChunkNumber{1}, 1000, {0, 90000}, {90000, 90000}, 30, 47, InitNumber{1}}, kHash);
  text += chunk_lines({ChunkNumber{2}, 2000, {90000, 90000}, {45000, 90000}, 15, 23, InitNumber{1}}, kHash,
                      gap_line({1, {93000, 90000}, {99000, 90000}, "device-lost"}) +
                          note_line({"mark", {{"t", "1500/1000"}, {"text", "a = b\n100 %"}}}));
  if (closed) text += end_line(2, kHash);
  return text;
}

Manifest parse(const std::string& text) { return parse_manifest(as_bytes(text)); }

TEST(Manifest, WhatWasFormattedIsParsed) {
  const std::string text = small_manifest(true);
  const Manifest m = parse(text);
  EXPECT_TRUE(m.damage.empty()) << m.damage.front().what;
  EXPECT_EQ(m.version, 1);
  EXPECT_EQ(m.recording_id, kId);
  EXPECT_EQ(m.path->text(), "studio-a/001/alice");
  EXPECT_EQ(m.t0_wall_ns, 1'700'000'000'123'456'789);
  EXPECT_EQ(m.bound_us, 340);
  ASSERT_EQ(m.files.size(), 3U);
  EXPECT_EQ(m.files[0].init->tracks[0].codec, "avc1.64001f");
  EXPECT_EQ(m.files[2].chunk->video, 15U);
  ASSERT_EQ(m.gaps.size(), 1U);
  EXPECT_EQ(m.gaps[0].reason, "device-lost");
  ASSERT_EQ(m.notes.size(), 1U);
  EXPECT_EQ(m.notes[0].values[1].second, "a = b\n100 %");
  ASSERT_TRUE(m.end);
  EXPECT_EQ(m.end->chunks, 2U);
  EXPECT_EQ(text.substr(m.end->end_offset, 5), "# end");
  EXPECT_EQ(m.intact_bytes, text.size());
  EXPECT_FALSE(m.torn_tail);
}

TEST(Manifest, JapaneseGuestNameStaysReadable) {
  const std::string line = recording_line(kId, {"会議", "001", "花子 さん"});
  EXPECT_NE(line.find("会議/001/花子%20さん"), std::string::npos);
  EXPECT_EQ(parse(header_line() + line).path->guest, "花子 さん");
}

// Read as it grows, in pieces of any size and with a byte damaged anywhere, it is what it is when read at once.
TEST(Manifest, ReadPieceByPieceIsTheSameAsReadAtOnce) {
  const std::string whole = small_manifest(true);
  for (std::size_t broken = 0; broken <= whole.size(); broken += 7) {
    std::string text = whole;
    if (broken < whole.size()) text[broken] ^= 1;
    for (const std::size_t step : {std::size_t{1}, std::size_t{13}, std::size_t{100}, std::size_t{333}}) {
      ManifestReader reader;
      for (std::size_t n = step; n < text.size() + step; n += step) {
        const std::size_t intact = reader.manifest().intact_bytes;
        reader.read(as_bytes(text.substr(intact, std::min(n, text.size()) - intact)));
      }
      const Manifest& grown = reader.manifest();
      const Manifest once = parse(text);
      ASSERT_EQ(grown.files.size(), once.files.size()) << broken;
      for (std::size_t i = 0; i < once.files.size(); ++i) {
        EXPECT_EQ(grown.files[i].name, once.files[i].name);
        EXPECT_EQ(grown.files[i].bytes(), once.files[i].bytes());
      }
      ASSERT_EQ(grown.damage.size(), once.damage.size()) << broken << " in steps of " << step;
      for (std::size_t i = 0; i < once.damage.size(); ++i) {
        EXPECT_EQ(grown.damage[i].line, once.damage[i].line);
        EXPECT_EQ(grown.damage[i].what, once.damage[i].what);
      }
      EXPECT_EQ(grown.gaps.size(), once.gaps.size());
      EXPECT_EQ(grown.notes.size(), once.notes.size());
      EXPECT_EQ(grown.intact_bytes, once.intact_bytes);
      EXPECT_EQ(grown.torn_tail, once.torn_tail);
      EXPECT_EQ(grown.end.has_value(), once.end.has_value());
      EXPECT_EQ(grown.end ? grown.end->end_offset : 0, once.end ? once.end->end_offset : 0);
    }
  }
}

// What was not committed may be cut off and written anew.
TEST(Manifest, AnUncommittedTailThatIsReplacedIsNotRemembered) {
  const std::string head = header_line() + recording_line(kId, {"s", "001", "g"});
  ManifestReader reader;
  reader.read(as_bytes(head));
  const auto chunk = chunk_lines({ChunkNumber{1}, 5, {0, 1}, {1, 1}, 1, 0, InitNumber{1}}, kHash);
  const std::string description = chunk.substr(0, chunk.find('\n') + 1);
  reader.read(as_bytes(description + description + "# ga"));
  EXPECT_EQ(reader.manifest().intact_bytes, head.size());
  EXPECT_FALSE(reader.manifest().damage.empty());
  const std::string init = init_lines({InitNumber{1}, 900, {{1, "video", 90000, 3000, "avc1"}}}, kHash);
  reader.read(as_bytes(init + chunk));
  EXPECT_TRUE(reader.manifest().damage.empty());
  EXPECT_EQ(reader.manifest().files.size(), 2U);
  EXPECT_FALSE(reader.manifest().torn_tail);
}

// Every prefix is what a crash may leave: never damage, and never more than was committed.
TEST(Manifest, TornTailIsNoDamageAndCommitsNothing) {
  const std::string text = small_manifest(true);
  for (std::size_t n = 0; n < text.size(); ++n) {
    const Manifest m = parse(text.substr(0, n));
    EXPECT_TRUE(m.damage.empty()) << n << ": " << m.damage.front().what;
    EXPECT_LE(m.intact_bytes, n);
    EXPECT_EQ(m.torn_tail, m.intact_bytes != n) << n;
    const Manifest cut = parse(text.substr(0, m.intact_bytes));
    EXPECT_EQ(cut.files.size(), m.files.size());
    EXPECT_EQ(cut.gaps, m.gaps) << n;
    EXPECT_EQ(m.gaps.size(), m.files.size() == 3 ? 1U : 0U) << "a gap counts only with its chunk";
    EXPECT_FALSE(m.end.has_value());
  }
}

TEST(Manifest, EachFlippedByteIsDamageOrChangesAHash) {
  const std::string text = small_manifest(true);
  const Manifest whole = parse(text);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string bad = text;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    const Manifest m = parse(bad);
    bool hash_changed = m.files.size() == whole.files.size();
    if (hash_changed) {
      hash_changed = false;
      for (std::size_t k = 0; k < m.files.size(); ++k) hash_changed |= m.files[k].sha256 != whole.files[k].sha256;
    }
    // The root, checked by `spool`, covers what only a hash line shows.
    EXPECT_TRUE(!m.damage.empty() || m.torn_tail || hash_changed) << "byte " << i;
  }
}

TEST(Manifest, MissingLineIsFound) {
  const std::string text = small_manifest(true);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at) + 1;
    lines.push_back(text.substr(at, end - at));
    at = end;
  }
  for (std::size_t skip = 0; skip < lines.size(); ++skip) {
    if (lines[skip].starts_with("# gap") || lines[skip].starts_with("# mark") || lines[skip].starts_with("# t0") ||
        lines[skip].starts_with("# recording") || lines[skip].starts_with("# end")) {
      continue;  // the root, or the missing value, shows these
    }
    std::string bad;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i != skip) bad += lines[i];
    }
    EXPECT_FALSE(parse(bad).damage.empty()) << lines[skip];
  }
}

TEST(Manifest, TextAfterTheEndIsDamage) { EXPECT_FALSE(parse(small_manifest(true) + header_line()).damage.empty()); }

TEST(Manifest, UnknownKeywordIsKept) {
  const Manifest m = parse(header_line() + note_line({"weather", {{"", "fine"}, {"t", "1/1"}}}));
  ASSERT_EQ(m.notes.size(), 1U);
  EXPECT_EQ(m.notes[0].keyword, "weather");
  EXPECT_EQ(m.notes[0].values[0].second, "fine");
}

TEST(Manifest, GarbageIsDamageNotACrash) {
  for (const char* text : {"\n", "hello\n", "#\n", "# \n", "# chunk crc=\n", "# crc=00000000\n", "  \n"}) {
    EXPECT_FALSE(parse(text).damage.empty()) << text;
  }
  EXPECT_EQ(parse("").version, 0);
}

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283U);  // RFC 3720 B.4's polynomial, the usual check value
  EXPECT_EQ(crc32c(as_bytes("6789"), crc32c(as_bytes("12345"))), 0xE3069283U);
  EXPECT_EQ(crc32c({}), 0U);
}

}  // namespace
}  // namespace mc::wire
