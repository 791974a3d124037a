#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "digest/sha256.hpp"
#include "mp4/fragment.hpp"
#include "spool/recording.hpp"

namespace mc::spool {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A picture at 10 frames a second and a sound track of 50 frames a second, written by hand so that each promise of the
// format can be broken alone.
class Verify : public testing::Test {
 protected:
  Verify() {
    std::string name = testing::TempDir() + "verify-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
    movie_.tracks.resize(2);
    mp4::Track& video = movie_.tracks[0];
    video.id = 1;
    video.kind = mp4::TrackKind::video;
    video.timescale = 1000;
    video.nominal_duration = 100;
    video.width = video.height = 16;
    video.descriptions = {entry("avc1", 78)};
    mp4::Track& audio = movie_.tracks[1];
    audio.id = 2;
    audio.kind = mp4::TrackKind::audio;
    audio.timescale = 8000;
    audio.nominal_duration = 160;
    audio.sample_rate = 8000;
    audio.channels = 1;
    audio.descriptions = {entry("fLaC", 28)};
    text_ = wire::header_line() +
            wire::recording_line("0123456789abcdef0123456789abcdef", {"studio-a", "001", "alice"}) +
            wire::t0_line(1'700'000'000'000'000'000, 100);
  }
  ~Verify() override { std::filesystem::remove_all(directory_); }

  static ByteBuffer entry(const char (&type)[5], std::size_t fixed) {
    ByteBuffer box;
    append_be(box, 8 + fixed + 8, 4);
    append(box, as_bytes(std::string_view(type, 4)));
    box.resize(8 + fixed);
    box[15] = 1;  // data_reference_index
    if (fixed == 78) {
      store_be(&box[8 + 24], 16, 2);
      store_be(&box[8 + 26], 16, 2);
    } else {
      store_be(&box[8 + 16], 1, 2);
      store_be(&box[8 + 24], 8000U << 16U, 4);
    }
    append_be(box, 8, 4);
    append(box, as_bytes("free"));
    return box;
  }

  void add_init() {
    ByteBuffer bytes;
    mp4::write_init(movie_, bytes);
    put("init_001.mp4", bytes);
    std::vector<wire::TrackSummary> tracks;
    for (const mp4::Track& t : movie_.tracks) {
      tracks.push_back(
          {t.id, t.kind == mp4::TrackKind::video ? "video" : "audio", t.timescale, t.nominal_duration, "x"});
    }
    text_ += wire::init_lines({{1}, bytes.size(), tracks}, digest::sha256_hex(bytes));
    save();
  }

  // `n` samples from `at`, each `duration` long.
  static std::vector<mp4::Sample> run_of(std::uint32_t track, std::uint64_t at, std::uint32_t n,
                                         std::uint32_t duration) {
    std::vector<mp4::Sample> samples;
    for (std::uint32_t i = 0; i < n; ++i) {
      samples.push_back({track, 1, at + std::uint64_t{i} * duration, duration, 0, 20 + i, track == 2 || i == 0});
    }
    return samples;
  }

  void add_chunk(const std::vector<std::vector<mp4::Sample>>& fragments, const std::string& ledger = {},
                 const std::function<void(wire::ChunkLine&)>& change = {}) {
    ByteBuffer bytes;
    mp4::write_styp(bytes);
    wire::ChunkLine line;
    line.number = {++chunks_};
    line.init = {1};
    for (const auto& samples : fragments) {
      ASSERT_TRUE(mp4::write_fragment_header(++sequence_, samples, bytes));
      for (const mp4::Sample& sample : samples) {
        (sample.track_id == 1 ? line.video : line.audio) += 1;
        bytes.insert(bytes.end(), sample.size_bytes, static_cast<std::uint8_t>(chunks_));
        if (sample.track_id != movie_.reference()->id) continue;
        line.start.timescale = line.duration.timescale = movie_.reference()->timescale;
        if (line.duration.ticks == 0) line.start.ticks = static_cast<std::int64_t>(sample.decode_time);
        line.duration.ticks += sample.duration;
      }
    }
    line.bytes = bytes.size();
    if (change) change(line);
    put(wire::chunk_name(line.number), bytes);
    text_ += wire::chunk_lines(line, digest::sha256_hex(bytes), ledger);
    save();
  }
  // A second of both tracks.
  void add_second(std::uint64_t second) {
    add_chunk({run_of(1, second * 1000, 10, 100), run_of(2, second * 8000, 50, 160)});
  }
  void close() {
    text_ += wire::end_line(chunks_, digest::sha256_hex(as_bytes(text_)));
    save();
  }
  void three_seconds() {
    add_init();
    for (std::uint64_t i = 0; i < 3; ++i) add_second(i);
    close();
  }

  void put(const std::string& name, ByteView bytes) const {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << as_text(bytes);
  }
  std::string get(const std::string& name) const {
    std::ifstream in(directory_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void save() const { put("manifest", as_bytes(text_)); }

  VerifyReport verify(const VerifyOptions& options = {}) const {
    auto report = verify_recording(sys::real_file_system(), directory_, options);
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : VerifyReport{};
  }
  // "name: problem" of each finding.
  std::vector<std::string> findings(const VerifyOptions& options = {}) const {
    std::vector<std::string> words;
    for (const Finding& finding : verify(options).findings) words.push_back(finding.name + ": " + finding.problem);
    return words;
  }
  static std::string gap(const mp4::Track& track, std::int64_t from, std::int64_t to) {
    return wire::gap_line({track.id, {from, track.timescale}, {to, track.timescale}, "device-lost"});
  }

  std::string directory_;
  mp4::Movie movie_;
  std::string text_;
  std::uint32_t chunks_ = 0, sequence_ = 0;
};

TEST_F(Verify, IntactRecordingHasNoFindings) {
  three_seconds();
  const auto report = verify();
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_THAT(report.notes, IsEmpty());
  EXPECT_TRUE(report.closed);
  EXPECT_EQ(report.chunks, 3U);
  EXPECT_EQ(report.video_frames, 30U);
  EXPECT_EQ(report.audio_frames, 150U);
  EXPECT_EQ(report.path.text(), "studio-a/001/alice");
}

TEST_F(Verify, OpenRecordingIsNoFault) {
  add_init();
  add_second(0);
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_FALSE(verify().closed);
}

TEST_F(Verify, NoRecordingIsAnError) {
  const auto report = verify_recording(sys::real_file_system(), directory_ + "/none", {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::not_found);
}

TEST_F(Verify, EveryFlippedByteOfEveryFileIsFoundUnderItsName) {
  three_seconds();
  for (const std::string name : {"init_001.mp4", "chunk_000002.m4s"}) {
    const std::string whole = get(name);
    for (std::size_t i = 0; i < whole.size(); i += 7) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ (1U << (i % 8)));
      put(name, as_bytes(flipped));
      ASSERT_THAT(findings(), Contains(name + ": damaged")) << name << " byte " << i;
    }
    put(name, as_bytes(whole));
  }
}

TEST_F(Verify, EveryFlippedBitOfTheManifestIsFound) {
  add_init();
  add_second(0);
  for (const bool closed : {false, true}) {
    if (closed) close();
    const std::string whole = text_;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ (1U << (i % 8)));
      put("manifest", as_bytes(flipped));
      const auto report = verify();
      // An open recording's last hash line can only be told from another by the file, which is then named.
      ASSERT_FALSE(report.findings.empty()) << "byte " << i << (closed ? " closed" : " open");
      if (closed) {
        ASSERT_THAT(findings(), Contains(HasSubstr("manifest: "))) << i;
      }
    }
    put("manifest", as_bytes(whole));
  }
}

TEST_F(Verify, EveryTruncationOfAnOpenManifestIsATornTail) {
  add_init();
  add_second(0);
  const std::string whole = text_;
  const std::size_t begin = wire::header_line().size();
  for (std::size_t i = begin; i < whole.size(); ++i) {
    put("manifest", as_bytes(whole.substr(0, i)));
    ASSERT_THAT(findings(), IsEmpty()) << i;
    ASSERT_FALSE(verify().closed);
  }
}

TEST_F(Verify, MissingFilesAreNamed) {
  three_seconds();
  std::filesystem::remove(directory_ + "/chunk_000002.m4s");
  EXPECT_THAT(findings(), ElementsAre("chunk_000002.m4s: missing"));
  std::filesystem::remove(directory_ + "/init_001.mp4");
  EXPECT_THAT(findings(), ElementsAre("init_001.mp4: missing", "chunk_000002.m4s: missing"));
}

TEST_F(Verify, WrongLengthsAreFound) {
  three_seconds();
  const std::string whole = get("chunk_000003.m4s");
  put("chunk_000003.m4s", as_bytes(whole + "x"));
  EXPECT_THAT(findings(), ElementsAre("chunk_000003.m4s: damaged"));
  put("chunk_000003.m4s", as_bytes(whole.substr(1)));
  EXPECT_THAT(findings(), ElementsAre("chunk_000003.m4s: damaged"));
}

TEST_F(Verify, UnlistedFilesAreNotedAndHiddenOnesPassedOver) {
  add_init();
  add_second(0);
  put("chunk_000002.m4s", as_bytes("orphan"));
  put("notes.txt", as_bytes("mine"));
  put(".journal-000002", as_bytes("local"));
  const auto report = verify();
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_THAT(report.notes, ElementsAre(HasSubstr("chunk_000002.m4s"), HasSubstr("notes.txt")));
}

TEST_F(Verify, EmptyClosedRecordingIsAFinding) {
  add_init();
  close();
  EXPECT_THAT(findings(), ElementsAre("manifest: empty"));
}

TEST_F(Verify, ChunkThatDoesNotBeginWithAKeyFrame) {
  add_init();
  add_second(0);
  auto pictures = run_of(1, 1000, 10, 100);
  pictures[0].sync = false;
  add_chunk({pictures, run_of(2, 8000, 50, 160)});
  EXPECT_THAT(findings(), ElementsAre("chunk_000002.m4s: not-a-key-frame"));
}

TEST_F(Verify, StretchedSampleNeedsItsGapLine) {
  add_init();
  auto pictures = run_of(1, 0, 10, 100);
  pictures[4].duration = 600;  // 500 ms too long
  for (std::size_t i = 5; i < 10; ++i) pictures[i].decode_time += 500;
  add_chunk({pictures});
  add_chunk({run_of(1, 1500, 10, 100)});
  EXPECT_THAT(findings(), ElementsAre("chunk_000001.m4s: gap-unexplained"));
}

TEST_F(Verify, GapLinesMustCoverAHoleExactly) {
  for (const auto& [from, to, right] : std::vector<std::tuple<int, int, bool>>{
           {1000, 1500, true}, {1000, 1499, false}, {1000, 1501, false}, {999, 1500, false}, {1001, 1500, false}}) {
    const std::string before = text_;
    chunks_ = 0;
    add_init();
    add_second(0);
    add_chunk({run_of(1, 1500, 10, 100), run_of(2, 8000, 50, 160)}, gap(movie_.tracks[0], from, to));
    close();
    EXPECT_EQ(findings().empty(), right) << from << " " << to;
    text_ = before;
  }
}

TEST_F(Verify, HoleOfTwoReasonsIsCoveredByTwoLines) {
  add_init();
  add_second(0);
  add_chunk({run_of(1, 3000, 10, 100), run_of(2, 8000, 50, 160)},
            gap(movie_.tracks[0], 1000, 1700) + gap(movie_.tracks[0], 1700, 3000));
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(Verify, GapOfAnotherTrackExplainsNothing) {
  add_init();
  add_second(0);
  add_chunk({run_of(1, 3000, 10, 100), run_of(2, 8000, 50, 160)}, gap(movie_.tracks[1], 1000, 3000));
  EXPECT_THAT(findings(), ElementsAre("chunk_000002.m4s: gap-unexplained"));
}

TEST_F(Verify, JitterOfHalfAnIntervalIsNoHole) {
  add_init();
  add_second(0);
  add_chunk({run_of(1, 1050, 10, 100), run_of(2, 8080, 50, 160)});
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(Verify, LastSampleOfAllMayNotHideAHole) {
  add_init();
  auto pictures = run_of(1, 0, 10, 100);
  pictures.back().duration = 5000;
  add_chunk({pictures});
  close();
  EXPECT_THAT(findings(), ElementsAre("chunk_000001.m4s: gap-unexplained"));
}

TEST_F(Verify, VariableRateHasHolesOnlyBeyondOneAndAHalfSeconds) {
  movie_.tracks[0].nominal_duration = 0;
  add_init();
  add_chunk({run_of(1, 0, 2, 1400)});
  EXPECT_THAT(findings(), IsEmpty());
  add_chunk({run_of(1, 2800, 2, 1600)});
  EXPECT_THAT(findings(), Contains("chunk_000002.m4s: gap-unexplained"));
}

TEST_F(Verify, TimeThatGoesBackAcrossChunksIsOutOfOrder) {
  add_init();
  add_second(0);
  add_second(1);
  add_second(1);
  EXPECT_THAT(findings(), Contains("chunk_000003.m4s: out-of-order"));
}

TEST_F(Verify, ADamagedChunkDoesNotBlameItsNeighbours) {
  three_seconds();
  std::string bytes = get("chunk_000002.m4s");
  bytes.back() ^= 1;
  put("chunk_000002.m4s", as_bytes(bytes));
  EXPECT_THAT(findings(), ElementsAre("chunk_000002.m4s: damaged"));
}

TEST_F(Verify, CountsAndTimesOfTheLineMustBeTrue) {
  const std::vector<std::pair<const char*, std::function<void(wire::ChunkLine&)>>> lies = {
      {"wrong-count", [](wire::ChunkLine& l) { ++l.video; }},
      {"wrong-count", [](wire::ChunkLine& l) { --l.audio; }},
      {"wrong-time", [](wire::ChunkLine& l) { ++l.start.ticks; }},
      {"wrong-time", [](wire::ChunkLine& l) { --l.duration.ticks; }},
  };
  for (const auto& [problem, lie] : lies) {
    const std::string before = text_;
    chunks_ = 0;
    add_init();
    add_chunk({run_of(1, 0, 10, 100), run_of(2, 0, 50, 160)}, {}, lie);
    EXPECT_THAT(findings(), ElementsAre(std::string("chunk_000001.m4s: ") + problem));
    text_ = before;
  }
}

TEST_F(Verify, ListedChunkThatIsNoMp4IsDamaged) {
  add_init();
  const std::string junk(500, 'j');
  put("chunk_000001.m4s", as_bytes(junk));
  text_ +=
      wire::chunk_lines({{1}, junk.size(), {0, 1000}, {1000, 1000}, 10, 50, {1}}, digest::sha256_hex(as_bytes(junk)));
  save();
  EXPECT_THAT(findings(), ElementsAre("chunk_000001.m4s: damaged"));
}

TEST_F(Verify, ReceiptsAreCheckedWithAndWithoutTheKey) {
  three_seconds();
  const auto key = *digest::PrivateKey::generate();
  const auto public_key = *key.public_key();
  const auto loaded = *load_manifest(sys::real_file_system(), directory_);
  wire::Receipt receipt;
  receipt.recording_id = loaded.manifest.recording_id;
  receipt.path = *loaded.manifest.path;
  receipt.root = loaded.manifest.end->root;
  receipt.manifest_sha256 = digest::sha256_hex(loaded.bytes);
  receipt.files = 4;
  receipt.chunks = 3;
  for (const auto& file : loaded.manifest.files) receipt.bytes += file.bytes();
  receipt.key_fingerprint = public_key.fingerprint();
  receipt.signature_base64 = digest::to_base64(*key.sign(as_bytes(wire::signed_part(receipt))));
  const std::string name = wire::receipt_name(public_key.fingerprint());
  put(name, as_bytes(wire::format_receipt(receipt)));

  VerifyOptions with_key;
  with_key.keys = {public_key};
  EXPECT_THAT(findings(with_key), IsEmpty());
  EXPECT_THAT(verify(with_key).receipts, ElementsAre(public_key.fingerprint()));
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_THAT(verify().receipts, IsEmpty());
  EXPECT_THAT(verify().notes, ElementsAre(HasSubstr("signature not checked")));

  VerifyOptions with_another_key;
  with_another_key.keys = {*(*digest::PrivateKey::generate()).public_key()};
  EXPECT_THAT(findings(with_another_key), ElementsAre(name + ": untrusted"));

  const std::string text = wire::format_receipt(receipt);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string flipped = text;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    put(name, as_bytes(flipped));
    ASSERT_FALSE(findings(with_key).empty()) << i;
  }
}

}  // namespace
}  // namespace mc::spool
