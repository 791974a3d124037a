#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "join/plan.hpp"
#include "join_recording.hpp"
#include "spool/recording.hpp"

namespace mc::join {
namespace {

using join_test::picture;
using join_test::play;
using join_test::PlayedFile;
using join_test::PlayedFrame;
using join_test::Recording;
using join_test::run_of;
using join_test::sound;
using testing::HasSubstr;

Result<Plan> plan_of(const Recording& recording) {
  auto& fs = sys::real_file_system();
  MC_TRY_ASSIGN(const auto loaded, spool::load_manifest(fs, recording.directory()));
  return make_plan(loaded, directory_reader(fs, recording.directory()));
}

// The joined file, put together from the plan the slow and obvious way.
ByteBuffer assemble(const Plan& plan, const Recording& recording) {
  ByteBuffer file = plan.head;
  for (const Range& range : plan.ranges) {
    EXPECT_EQ(range.position, file.size());
    const ByteBuffer chunk = recording.get(plan.files.at(range.file).name);
    append(file, ByteView(chunk).subspan(range.offset, range.length));
  }
  EXPECT_EQ(file.size(), plan.size_bytes);
  return file;
}

PlayedFile joined(const Recording& recording) {
  const auto plan = plan_of(recording);
  EXPECT_TRUE(plan) << plan.error().message;
  if (!plan) return {};
  PlayedFile played = play(assemble(*plan, recording));
  EXPECT_EQ(played.top_level, (std::vector<std::string>{"ftyp", "moov", "mdat"}));
  return played;
}

// Every frame that was recorded is there, in its order, with its bytes, and at its time: within a tick of its track.
void expect_same_frames(const PlayedFile& played, const Recording& recording, const mp4::Movie& movie) {
  std::map<std::uint32_t, std::size_t> next;
  for (const mp4::Sample& sample : recording.frames) {
    const mp4::Track& track = *movie.find(sample.track_id);
    const auto& frames = played.tracks.at(sample.track_id).frames;
    const std::size_t i = next[sample.track_id]++;
    ASSERT_LT(i, frames.size());
    const PlayedFrame& frame = frames[i];
    ASSERT_EQ(frame.bytes, join_test::frame_bytes(sample)) << "track " << sample.track_id << " frame " << i;
    EXPECT_EQ(frame.sync, sample.sync);
    EXPECT_EQ(frame.description, sample.description);
    const std::int64_t ticks =
        static_cast<std::int64_t>(sample.decode_time) + sample.composition_offset - track.media_time + track.empty_edit;
    const bool priming = ticks < track.empty_edit;
    EXPECT_EQ(frame.presented, !priming) << "track " << sample.track_id << " frame " << i;
    if (priming) continue;
    EXPECT_NEAR(frame.presentation_s * track.timescale, static_cast<double>(ticks), 0.51)
        << "track " << sample.track_id << " frame " << i;
  }
  for (const auto& [id, n] : next) EXPECT_EQ(played.tracks.at(id).frames.size(), n);
}

mp4::Movie both() { return {{picture(), sound()}}; }

TEST(JoinPlan, TwoTracksKeepTheirFramesAndTimes) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  for (std::uint32_t second = 0; second < 3; ++second) {
    recording.add_chunk({run_of(1, second * 90000U, 30, 3000, 900), run_of(2, second * 48000U, 50, 960)});
  }
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_NEAR(played.movie_duration_s, 3.0, 1e-6);
  EXPECT_EQ(played.movie_timescale, 720000U);
  EXPECT_FALSE(played.tracks.at(1).boxes.contains("elst"));
  EXPECT_FALSE(played.tracks.at(1).boxes.contains("ctts"));
}

TEST(JoinPlan, SameFilesGiveTheSameBytes) {
  Recording recording(both());
  recording.add_chunk({run_of(1, 0, 30, 3000), run_of(2, 0, 50, 960)});
  recording.close();
  EXPECT_EQ(plan_of(recording)->head, plan_of(recording)->head);
}

TEST(JoinPlan, SoundThatStartsLateKeepsItsOffset) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 30, 3000), run_of(2, 33600, 15, 960)});
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_DOUBLE_EQ(played.tracks.at(2).frames.front().presentation_s, 0.7);
}

TEST(JoinPlan, OffsetOfOneTickIsExactBetweenOddTimescales) {
  const mp4::Movie movie{{picture(1, 30000), sound(2, 44100)}};
  Recording recording(movie);
  recording.add_chunk({run_of(1, 1, 30, 1001), run_of(2, 44099, 40, 1024)});
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_EQ(played.movie_timescale % 30000, 0U);
  EXPECT_EQ(played.movie_timescale % 44100, 0U);
}

TEST(JoinPlan, TimescalesWithoutACommonMultipleStayWithinATick) {
  const mp4::Movie movie{{picture(1, 999'999'937), sound(2, 48000)}};
  Recording recording(movie);
  recording.add_chunk({run_of(1, 123'456'789, 30, 33'333'331), run_of(2, 33601, 40, 960)});
  recording.close();
  expect_same_frames(joined(recording), recording, movie);
}

TEST(JoinPlan, HoleInsideAndBetweenChunksIsAStretchedDuration) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  auto late = run_of(1, 0, 10, 3000);
  late[9].duration = 3000 + 225000;  // 2.5 s missing, then another frame of the same fragment
  mp4::Sample last = late[9];
  last.decode_time += last.duration;
  last.duration = 3000;
  last.sync = false;
  late.push_back(last);
  recording.add_chunk({late, run_of(2, 0, 150, 960)});
  recording.add_chunk({run_of(1, 540000, 5, 3000), run_of(2, 288000, 5, 960)});
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_EQ(played.tracks.at(1).frames.at(9).delta, 228000U);
  EXPECT_EQ(played.tracks.at(1).frames.at(10).delta, 540000U - 255000U);
  EXPECT_EQ(played.tracks.at(1).frames.back().delta, 3000U);
}

TEST(JoinPlan, NextDecodeTimeOverrulesADuration) {
  const mp4::Movie movie{{picture()}};
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 1, 3000)});
  recording.add_chunk({run_of(1, 2500, 1, 3000)});  // a shorter step than the duration said
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_EQ(played.tracks.at(1).frames.front().delta, 2500U);
}

TEST(JoinPlan, HoleLongerThanADurationHoldsBecomesAnEdit) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 30, 3000), run_of(2, 0, 50, 960)});
  const std::uint64_t hours = 20 * 3600;
  recording.add_chunk({run_of(1, hours * 90000, 30, 3000), run_of(2, hours * 48000, 50, 960)});
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_NEAR(played.movie_duration_s, 20 * 3600 + 1, 1e-3);
}

TEST(JoinPlan, PrimingIsCutAndCountsInNoTime) {
  mp4::Movie movie = both();
  movie.tracks[1].media_time = 312;
  movie.tracks[1].roll_distance = -4;
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 30, 3000), run_of(2, 0, 51, 960)});
  recording.close();
  const PlayedFile played = joined(recording);
  // The first frame holds the priming: it begins before the edit and ends inside of it.
  EXPECT_FALSE(played.tracks.at(2).frames.at(0).presented);
  EXPECT_NEAR(played.tracks.at(2).frames.at(1).presentation_s, (960 - 312) / 48000.0, 1e-9);
  EXPECT_TRUE(played.tracks.at(2).boxes.contains("sgpd"));
  EXPECT_TRUE(played.tracks.at(2).boxes.contains("sbgp"));
}

TEST(JoinPlan, PrimingOfATrackThatStartsLate) {
  mp4::Movie movie = both();
  movie.tracks[1].media_time = 312;
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 30, 3000), run_of(2, 24312, 20, 960)});
  recording.close();
  expect_same_frames(joined(recording), recording, movie);
}

// Decode order I P B B: offsets as an encoder with two B-frames gives them.
std::vector<mp4::Sample> with_b_frames(std::uint64_t decode_time, std::int32_t delay) {
  auto samples = run_of(1, decode_time, 8, 3000);
  const std::int32_t order[] = {0, 3, 1, 2, 6, 4, 5, 7};
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].composition_offset = (order[i] - static_cast<std::int32_t>(i)) * 3000 + delay;
  }
  return samples;
}

TEST(JoinPlan, BFramesWithADelayThatTheEditTakesBack) {
  mp4::Movie movie = both();
  movie.tracks[0].media_time = 6000;
  Recording recording(movie);
  recording.add_chunk({with_b_frames(0, 6000), run_of(2, 0, 12, 960)});
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_DOUBLE_EQ(played.tracks.at(1).frames.front().presentation_s, 0);
}

TEST(JoinPlan, BFramesWithADelayThatNothingTakesBack) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  recording.add_chunk({with_b_frames(0, 6000), run_of(2, 0, 12, 960)});
  recording.close();
  const PlayedFile played = joined(recording);
  expect_same_frames(played, recording, movie);
  EXPECT_NEAR(played.tracks.at(1).frames.front().presentation_s, 6000 / 90000.0, 1e-9);
}

TEST(JoinPlan, NegativeCompositionOffsetsStayNegative) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  recording.add_chunk({with_b_frames(90000, 0), run_of(2, 48000, 12, 960)});
  recording.close();
  expect_same_frames(joined(recording), recording, movie);
}

TEST(JoinPlan, FrameShownBeforeTheFirstIsDecodedIsNotCut) {
  mp4::Movie movie{{picture()}};
  movie.tracks[0].empty_edit = 90000;
  Recording recording(movie);
  auto samples = run_of(1, 90000, 3, 3000);
  samples[1].composition_offset = -9000;
  recording.add_chunk({samples});
  recording.close();
  movie.tracks[0].empty_edit = 0;
  const PlayedFile played = joined(recording);
  ASSERT_EQ(played.tracks.at(1).frames.size(), 3U);
  EXPECT_NEAR(played.tracks.at(1).frames[0].presentation_s, 2.0, 1e-9);
  EXPECT_NEAR(played.tracks.at(1).frames[1].presentation_s, 2.0 - 6000 / 90000.0, 1e-9);
}

TEST(JoinPlan, LastInitServesChunksOfEveryDescription) {
  mp4::Movie movie = both();
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 30, 3000), run_of(2, 0, 50, 960)});
  movie.tracks[0].descriptions.push_back(join_test::visual_entry(640, 360, 2));
  recording.add_init(movie);
  auto larger = run_of(1, 90000, 30, 3000);
  for (mp4::Sample& sample : larger) sample.description = 2;
  recording.add_chunk({larger, run_of(2, 48000, 50, 960)});
  recording.close();
  expect_same_frames(joined(recording), recording, movie);
}

TEST(JoinPlan, SoundAloneIsAnM4a) {
  mp4::Movie movie{{sound(1)}};
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 50, 960)});
  recording.close();
  const auto plan = plan_of(recording);
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->has_picture);
  EXPECT_EQ(plan->audio_frames, 50U);
}

TEST(JoinPlan, TrackWithoutFramesIsLeftOut) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 30, 3000)});
  recording.close();
  const PlayedFile played = joined(recording);
  EXPECT_EQ(played.tracks.size(), 1U);
  expect_same_frames(played, recording, movie);
}

TEST(JoinPlan, OpenRecordingGivesWhatItHas) {
  const mp4::Movie movie = both();
  Recording recording(movie);
  recording.add_chunk({run_of(1, 0, 30, 3000), run_of(2, 0, 50, 960)});
  const auto plan = plan_of(recording);
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->closed);
  EXPECT_EQ(plan->video_frames, 30U);
  recording.put(wire::kManifestName, as_bytes(recording.manifest_text() + "# chunk 2 bytes=12"));
  EXPECT_TRUE(plan_of(recording)) << "a torn tail is normal in an open recording";
}

void expect_damaged(const Recording& recording, const std::string& words) {
  const auto plan = plan_of(recording);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, ErrorKind::damaged);
  EXPECT_THAT(plan.error().message, HasSubstr(words));
}

TEST(JoinPlan, EmptyRecordingIsAnError) {
  Recording recording(both());
  recording.close();
  expect_damaged(recording, "empty");
}

TEST(JoinPlan, MissingChunkIsNamed) {
  Recording recording(both());
  recording.add_chunk({run_of(1, 0, 30, 3000)});
  recording.add_chunk({run_of(1, 90000, 30, 3000)});
  recording.close();
  std::filesystem::remove(recording.chunk(2));
  expect_damaged(recording, "chunk_000002.m4s");
}

TEST(JoinPlan, ShortLongAndForeignChunksAreNamed) {
  Recording recording(both());
  recording.add_chunk({run_of(1, 0, 30, 3000)});
  recording.close();
  const ByteBuffer whole = recording.get("chunk_000001.m4s");
  ByteBuffer other(whole.begin(), whole.end() - 1);
  recording.put("chunk_000001.m4s", other);
  expect_damaged(recording, "chunk_000001.m4s");
  other = whole;
  other.push_back(0);
  recording.put("chunk_000001.m4s", other);
  expect_damaged(recording, "chunk_000001.m4s");
  recording.put("chunk_000001.m4s", ByteBuffer(whole.size(), 0xAA));
  expect_damaged(recording, "chunk_000001.m4s");
}

TEST(JoinPlan, WrongInitIsNamed) {
  Recording recording(both());
  recording.add_chunk({run_of(1, 0, 30, 3000)});
  recording.close();
  recording.flip("init_001.mp4", 60);
  expect_damaged(recording, "init_001.mp4");
}

TEST(JoinPlan, TimeThatRunsBackIsDamage) {
  Recording recording(both());
  recording.add_chunk({run_of(1, 90000, 30, 3000)});
  recording.add_chunk({run_of(1, 0, 30, 3000)});
  recording.close();
  expect_damaged(recording, "chunk_000002.m4s");
}

// The recording in memory, so that every bit of it can be turned over quickly.
class Flips {
 public:
  explicit Flips(const Recording& recording) {
    const auto entries = sys::real_file_system().list(recording.directory());
    for (const auto& entry : *entries) files_[entry.name] = recording.get(entry.name);
  }
  ByteBuffer& file(const std::string& name) { return files_.at(name); }

  Result<Plan> plan() const {
    const Reader read = [this](const std::string& name, std::uint64_t offset,
                               std::span<std::uint8_t> into) -> Result<std::size_t> {
      const auto found = files_.find(name);
      if (found == files_.end()) return fail(ErrorKind::not_found, "no such file");
      const ByteBuffer& bytes = found->second;
      if (offset >= bytes.size()) return std::size_t{0};
      const auto n = std::min<std::size_t>(into.size(), bytes.size() - static_cast<std::size_t>(offset));
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), n, into.begin());
      return n;
    };
    return make_plan(spool::load_manifest_bytes(files_.at(wire::kManifestName)), read);
  }

 private:
  std::map<std::string, ByteBuffer> files_;
};

TEST(JoinPlan, EveryFlippedByteOfTheManifestIsNoticed) {
  Recording recording(both());
  recording.add_chunk({run_of(1, 0, 3, 3000)});
  recording.close();
  Flips flips(recording);
  ByteBuffer& manifest = flips.file(wire::kManifestName);
  const std::size_t end_line = recording.manifest_text().rfind("# end");
  for (std::size_t i = 0; i < manifest.size(); ++i) {
    manifest[i] ^= 1;
    const auto plan = flips.plan();
    // The end line is the one that can turn a closed recording into an open one, never into another recording.
    if (plan) {
      EXPECT_FALSE(plan->closed) << "byte " << i;
      EXPECT_GE(i, end_line) << "byte " << i;
    }
    manifest[i] ^= 1;
  }
}

TEST(JoinPlan, EveryFlippedBitOfAChunkIsSurvived) {
  Recording recording(both());
  recording.add_chunk({run_of(1, 0, 3, 3000, 20), run_of(2, 0, 3, 960, 20)});
  recording.close();
  Flips flips(recording);
  ByteBuffer& chunk = flips.file("chunk_000001.m4s");
  for (std::size_t i = 0; i < chunk.size() * 8; ++i) {
    chunk[i / 8] = static_cast<std::uint8_t>(chunk[i / 8] ^ 1U << i % 8);
    const auto plan = flips.plan();
    EXPECT_LE(plan ? plan->size_bytes - plan->head.size() : 0, chunk.size());
    chunk[i / 8] = static_cast<std::uint8_t>(chunk[i / 8] ^ 1U << i % 8);
  }
}

}  // namespace
}  // namespace mc::join
