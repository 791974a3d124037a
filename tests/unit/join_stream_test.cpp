#include <gmock/gmock.h>

#include "join/stream.hpp"
#include "join_recording.hpp"

namespace mc::join {
namespace {

using join_test::picture;
using join_test::Recording;
using join_test::run_of;
using join_test::sound;
using testing::HasSubstr;

class JoinStream : public testing::Test {
 protected:
  JoinStream() : recording_({{picture(), sound()}}) {
    add(5000);
    add(12'000);  // more than a piece
    mp4::Track larger = picture();
    larger.descriptions.push_back(join_test::visual_entry(640, 360, 2));
    recording_.add_init({{larger, sound()}});
    add(9000);
    recording_.close();
    make(Tracks::all);
  }

  void add(std::uint32_t frame_bytes) {
    recording_.add_chunk({run_of(1, second_ * 90000U, 30, 3000, frame_bytes), run_of(2, second_ * 48000U, 50, 960)});
    ++second_;
  }
  void make(Tracks tracks) {
    plan_ = planned(tracks).value();
    expected_ = plan_.head;
    for (const Range& range : plan_.ranges) {
      const ByteBuffer chunk = recording_.get(plan_.files.at(range.file).name);
      append(expected_, ByteView(chunk).subspan(range.offset, range.length));
    }
  }
  Result<Plan> planned(Tracks tracks) {
    auto& fs = sys::real_file_system();
    return make_plan(*spool::load_manifest(fs, recording_.directory()), reader(), tracks);
  }
  Reader reader() { return directory_reader(sys::real_file_system(), recording_.directory()); }
  static ByteBuffer read(Stream& stream, std::uint64_t offset, std::size_t length) {
    ByteBuffer bytes(length);
    const auto got = stream.read_at(offset, bytes);
    EXPECT_TRUE(got) << got.error().message;
    bytes.resize(got.value_or(0));
    return bytes;
  }
  ByteBuffer expected(std::uint64_t offset, std::size_t length) const {
    const std::size_t from = std::min<std::size_t>(offset, expected_.size());
    const ByteView part = ByteView(expected_).subspan(from, std::min(length, expected_.size() - from));
    return {part.begin(), part.end()};
  }

  std::uint32_t second_ = 0;
  Recording recording_;
  Plan plan_;
  ByteBuffer expected_;
};

TEST_F(JoinStream, PiecesOfAnySizeMakeTheFile) {
  for (const std::size_t size : {std::size_t{1} << 20, std::size_t{65'537}, std::size_t{997}}) {
    Stream stream(plan_, reader());
    ByteBuffer all;
    for (;;) {
      const ByteBuffer piece = read(stream, all.size(), size);
      append(all, piece);
      if (piece.size() < size) break;
    }
    EXPECT_EQ(all, expected_) << size;
  }
}

TEST_F(JoinStream, AnyPlaceForwardsAndBackwards) {
  Stream stream(plan_, reader());
  std::vector<std::uint64_t> places{0, 1, plan_.head.size() - 1, plan_.head.size(), plan_.size_bytes - 1};
  for (const Range& range : plan_.ranges) {
    places.insert(places.end(), {range.position - 1, range.position, range.position + range.length - 1});
  }
  for (std::uint64_t at = 0; at < plan_.size_bytes; at += 199'991) places.push_back(plan_.size_bytes - 1 - at);
  for (const std::uint64_t at : places) {
    for (const std::size_t length : {std::size_t{1}, std::size_t{300'000}}) {
      ASSERT_EQ(read(stream, at, length), expected(at, length)) << at << " " << length;
    }
  }
  EXPECT_TRUE(read(stream, plan_.size_bytes, 10).empty());
  EXPECT_TRUE(read(stream, plan_.size_bytes + 10, 10).empty());
}

TEST_F(JoinStream, OfASoundAloneHasTheSoundAndNothingElse) {
  make(Tracks::sound);
  EXPECT_FALSE(plan_.has_picture);
  EXPECT_EQ(plan_.audio_frames, 150U);
  Stream stream(plan_, reader());
  const ByteBuffer file = read(stream, 0, static_cast<std::size_t>(plan_.size_bytes) + 1);
  EXPECT_EQ(file, expected_);
  const join_test::PlayedFile played = join_test::play(file);
  ASSERT_EQ(played.tracks.size(), 1U);
  const auto& frames = played.tracks.at(2).frames;
  std::size_t at = 0;
  for (const mp4::Sample& sample : recording_.frames) {
    if (sample.track_id != 2) continue;
    ASSERT_LT(at, frames.size());
    EXPECT_EQ(frames[at].bytes, join_test::frame_bytes(sample)) << at;
    EXPECT_NEAR(frames[at++].presentation_s, static_cast<double>(sample.decode_time) / 48000, 1e-6);
  }
  EXPECT_EQ(at, frames.size());
}

TEST_F(JoinStream, WithoutSoundThereIsNone) {
  Recording silent({{picture()}});
  silent.add_chunk({run_of(1, 0, 30, 3000)});
  silent.close();
  auto& fs = sys::real_file_system();
  const auto plan =
      make_plan(*spool::load_manifest(fs, silent.directory()), directory_reader(fs, silent.directory()), Tracks::sound);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, ErrorKind::not_found);
}

// Each chunk in turn is missing, cut, longer or has one byte changed, wherever it is: in the boxes or in the media.
TEST_F(JoinStream, NothingOfAChunkThatIsNotWholeIsGiven) {
  for (std::uint32_t n = 1; n <= 3; ++n) {
    const std::string name = wire::chunk_name({n});
    const ByteBuffer whole = recording_.get(name);
    const auto first =
        std::find_if(plan_.ranges.begin(), plan_.ranges.end(), [&](const Range& r) { return r.file == n - 1; });
    const auto gives_nothing = [&](const std::string& why) {
      Stream stream(plan_, reader());
      EXPECT_EQ(read(stream, 0, static_cast<std::size_t>(first->position)), expected(0, first->position)) << why;
      ByteBuffer one(1);
      const auto got = stream.read_at(first->position, one);
      ASSERT_FALSE(got) << name << " " << why;
      EXPECT_EQ(got.error().kind, ErrorKind::damaged) << got.error().message;
      EXPECT_THAT(got.error().message, HasSubstr("'" + name + "'"));
    };
    for (const std::size_t at : {std::size_t{3}, whole.size() / 2, whole.size() - 1}) {
      recording_.flip(name, at);
      gives_nothing("flipped");
      recording_.put(name, whole);
    }
    recording_.put(name, ByteView(whole).first(whole.size() - 1));
    gives_nothing("cut");
    ByteBuffer longer = whole;
    longer.push_back(0);
    recording_.put(name, longer);
    gives_nothing("longer");
    std::filesystem::remove(recording_.path(name));
    gives_nothing("missing");
    recording_.put(name, whole);
  }
}

TEST_F(JoinStream, AByteThatChangesBehindTheComparisonIsNotGiven) {
  Stream stream(plan_, reader());
  const auto second =
      std::find_if(plan_.ranges.begin(), plan_.ranges.end(), [](const Range& r) { return r.file == 1; });
  EXPECT_EQ(read(stream, second->position, 1), expected(second->position, 1));
  const std::size_t late = recording_.get("chunk_000002.m4s").size() - 1;
  recording_.flip("chunk_000002.m4s", late);
  ByteBuffer rest(static_cast<std::size_t>(plan_.size_bytes));
  const auto got = stream.read_at(second->position, rest);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().message, "'chunk_000002.m4s': changed while it was read");
}

}  // namespace
}  // namespace mc::join
