// Inputs whose times are not what a recording needs, and what the ledger says of them.
#include <gtest/gtest.h>

#include "recorder_fixture.hpp"
#include "watched_file_system.hpp"

namespace mc::spool {
namespace {

class PlacingTest : public RecorderTest {
 protected:
  // Every decode time of a track, in its ticks.
  std::vector<std::uint64_t> times(std::uint32_t track) {
    std::vector<std::uint64_t> found;
    mp4::StreamParser parser;
    const auto m = manifest();
    for (const auto& file : m.files) {
      const auto bytes = sys::read_file(sys::real_file_system(), directory_ + "/" + file.name, 1 << 20);
      EXPECT_TRUE(bytes);
      parser.push(*bytes);
      for (auto item = parser.next(); item && *item; item = parser.next()) {
        const auto* sample = std::get_if<mp4::SampleItem>(&**item);
        if (sample != nullptr && sample->sample.track_id == track) found.push_back(sample->sample.decode_time);
      }
    }
    return found;
  }
  std::vector<std::string> note_keywords() {
    std::vector<std::string> keywords;
    for (const auto& note : manifest().notes) keywords.push_back(note.keyword);
    return keywords;
  }
};

// never-lose: two files of another program one behind the other; frames a tick apart would be a recording in name only.
TEST_F(PlacingTest, AnInputThatBeginsAgainGoesOnBehindWhatIsThere) {
  Recorder r = open();
  for (int twice = 0; twice < 2; ++twice) {
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 2000);
  }
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_EQ(verify().video_frames, 40U);
  std::vector<std::uint64_t> want;
  for (std::uint64_t ms = 0; ms < 4000; ms += 100) want.push_back(ms);
  EXPECT_EQ(times(1), want);
  for (auto& ticks : want) ticks *= 8;
  const auto sound_times = times(2);
  ASSERT_EQ(sound_times.size(), 200U);
  EXPECT_EQ(sound_times.back(), 3980U * 8);
  EXPECT_EQ(note_keywords(), std::vector<std::string>{"clock"});
}

TEST_F(PlacingTest, ATimeThatIsSetBackWithoutAnInitKeepsTheTracksTogether) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 5000, 7000);
  ASSERT_TRUE(r.take(picture(1000, true)));
  ASSERT_TRUE(r.take(sound(7000)));  // the sound is a little behind: still of the old time
  ASSERT_TRUE(r.take(sound(1020)));
  feed(r, 1100, 2000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  const auto pictures = times(1);
  const auto sounds = times(2);
  EXPECT_EQ(pictures[20], 7000U);
  EXPECT_EQ(sounds[101], 7020U * 8);
  EXPECT_EQ(pictures.back() * 8 + 80 * 8, sounds.back());
  EXPECT_EQ(note_keywords(), std::vector<std::string>{"clock"});
}

// Segments with an init each, as players are served them, may overlap by a rounding: that moves no track against
// another.
TEST_F(PlacingTest, AnOverlapOfATickBehindAnInitIsNoNewBeginning) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1000);
  for (std::uint64_t ms = 1000; ms < 1200; ms += 20) ASSERT_TRUE(r.take(sound(ms)));  // ahead of the picture
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  ASSERT_TRUE(r.take(picture(899, true)));
  ASSERT_TRUE(r.take(sound(1200)));
  ASSERT_TRUE(r.take(picture(1000, false)));
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  EXPECT_EQ(times(1).back(), 1000U);
  EXPECT_TRUE(note_keywords().empty());
}

// A restart whose first picture lies right behind the last one, and whose first sound a little before that.
TEST_F(PlacingTest, AContinuedRecordingNeverOverlapsASealedFrame) {
  {
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 1500);
    ASSERT_TRUE(r.finish(EndOfStream::stopped));
  }
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  ASSERT_TRUE(r.take(picture(1500, true)));
  ASSERT_TRUE(r.take(sound(1490)));
  feed(r, 2000, 3000);
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_TRUE(verify().closed);
}

// The last sound of a chunk is sealed when the chunk after the next one begins; what then comes early is put behind it.
TEST_F(PlacingTest, ATrackThatWasSilentForAChunkNeverOverlapsWhatWasSealed) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1000);
  for (std::uint64_t ms = 1000; ms < 3500; ms += 100) ASSERT_TRUE(r.take(picture(ms, ms % 1000 == 0)));
  ASSERT_TRUE(r.take(sound(990)));
  ASSERT_TRUE(r.take(picture(3500, false)));
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  EXPECT_EQ(verify().audio_frames, 51U);
}

TEST_F(PlacingTest, ThreeJournalsAndASoundThatComesEarlyAreRecoveredInOrder) {
  {
    options_.publishing = Publisher::Mode::background;
    Recorder r = open();
    ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
    feed(r, 0, 1000);
    for (std::uint64_t ms = 1000; ms < 2100; ms += 100) ASSERT_TRUE(r.take(picture(ms, ms % 1000 == 0)));
    ASSERT_TRUE(r.take(sound(990)));
    ASSERT_TRUE(r.commit());
  }
  ASSERT_TRUE(recover_recording(sys::real_file_system(), directory_, no_log()));
  EXPECT_EQ(verify().audio_frames, 51U);
}

// A reason that came when no frame followed any more, as of a device that was lost for good, or of a full queue.
TEST_F(PlacingTest, WhatWasLeftOutBehindTheLastFrameIsLedgered) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  feed(r, 0, 1500);
  ASSERT_TRUE(r.take(event(R"({"event":"gap","track":1,"reason":"queue-overflow","frames":7})", 1500)));
  ASSERT_TRUE(r.take(event(R"({"event":"end"})", 1800)));
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  const auto m = manifest();
  ASSERT_EQ(m.notes.size(), 1U);
  EXPECT_EQ(m.notes[0].keyword, "dropped");
  EXPECT_EQ(m.notes[0].value("reason"), "queue-overflow");
  EXPECT_EQ(m.notes[0].value("frames"), "7");
  EXPECT_EQ(m.notes[0].value("track"), "1");
}

TEST_F(PlacingTest, PicturesThatNeverSawAKeyFrameAreLedgered) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  ASSERT_TRUE(r.take(sound(0)));
  ASSERT_TRUE(r.take(picture(0, false)));
  ASSERT_TRUE(r.take(picture(100, false)));
  ASSERT_TRUE(r.take(sound(20)));
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  verify();
  const auto m = manifest();
  ASSERT_EQ(m.notes.size(), 1U);
  EXPECT_EQ(m.notes[0].value("reason"), "before-key-frame");
  EXPECT_EQ(m.notes[0].value("frames"), "2");
}

TEST_F(PlacingTest, WithoutAKeyFrameForALongTimeTheCutIsForcedAndSaid) {
  Recorder r = open();
  ASSERT_TRUE(r.take(mp4::InitItem{movie()}));
  for (std::uint64_t ms = 0; ms < 50'000; ms += 100) ASSERT_TRUE(r.take(picture(ms, ms == 0 || ms == 45'000)));
  ASSERT_TRUE(r.finish(EndOfStream::whole));
  const VerifyReport report = verify();
  EXPECT_EQ(report.video_frames, 500U);
  const auto m = manifest();
  EXPECT_EQ(m.chunk_count(), 4U) << "20 s, 20 s, 5 s, and from the key frame on";
  EXPECT_EQ(note_keywords(), (std::vector<std::string>{"cut", "cut"}));
}

TEST_F(PlacingTest, ADiskThatDoesNotSayHowMuchRoomItHasIsWrittenTo) {
  class Mute final : public WatchedFileSystem {
   public:
    using WatchedFileSystem::WatchedFileSystem;
    Result<sys::SpaceInfo> space(const std::string&) override { return fail(ErrorKind::io, "statvfs: no such call"); }
  };
  std::vector<std::string> said;
  options_.log = [&](LogLevel, std::string_view text) { said.emplace_back(text); };
  Mute fs(root_);
  auto r = Recorder::open(fs, directory_, options_, Locking::none);
  ASSERT_TRUE(r) << r.error().message;
  r->begin_stream();
  ASSERT_TRUE(r->take(mp4::InitItem{movie()}));
  for (std::uint64_t ms = 0; ms < 3000; ms += 100) {
    ASSERT_TRUE(r->take(picture(ms, ms % 1000 == 0)));
    ASSERT_TRUE(r->commit());
  }
  ASSERT_TRUE(r->finish(EndOfStream::whole));
  EXPECT_EQ(verify().video_frames, 30U);
  EXPECT_EQ(said.size(), 1U);
}

}  // namespace
}  // namespace mc::spool
