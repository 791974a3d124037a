// Every state that a crash may leave of a recording, recovered (never-lose L7, L10, L19; house style "Crash"). A
// recording is written on a file system that remembers its operations; from each prefix of the log the states are built
// that weak POSIX allows, and the oracle asks:
//
//   every frame that was acknowledged before the crash is in the recovered recording, with the right bytes
//   the manifest is undamaged, and `verify` finds nothing
//   a second recovery changes nothing
//   recovery killed at each of its own operations, and run again, ends the same
//
// MC_CRASH_STATES sets how many distinct states are looked for (default 3,000; a recording of this length has fewer).
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <unordered_set>

#include "crash/sim_file_system.hpp"
#include "digest/sha256.hpp"
#include "mp4/stream_parser.hpp"
#include "spool/recorder.hpp"
#include "spool/recording.hpp"

namespace mc::crash {
namespace {

constexpr char kDirectory[] = "spool/s/001/alice";

mp4::Movie test_movie() {
  const auto entry = [](const char(&type)[5], std::size_t fixed) {
    ByteBuffer box;
    append_be(box, 8 + fixed, 4);
    append(box, as_bytes(std::string_view(type, 4)));
    box.resize(8 + fixed);
    box[15] = 1;
    return box;
  };
  mp4::Movie movie;
  movie.tracks.resize(2);
  movie.tracks[0].id = 1;
  movie.tracks[0].kind = mp4::TrackKind::video;
  movie.tracks[0].timescale = 1000;
  movie.tracks[0].nominal_duration = 200;
  movie.tracks[0].width = movie.tracks[0].height = 16;
  movie.tracks[0].descriptions = {entry("avc1", 78)};
  store_be(&movie.tracks[0].descriptions[0][8 + 24], 16, 2);
  store_be(&movie.tracks[0].descriptions[0][8 + 26], 16, 2);
  movie.tracks[1].id = 2;
  movie.tracks[1].kind = mp4::TrackKind::audio;
  movie.tracks[1].timescale = 8000;
  movie.tracks[1].nominal_duration = 1600;
  movie.tracks[1].sample_rate = 8000;
  movie.tracks[1].channels = 1;
  movie.tracks[1].descriptions = {entry("fLaC", 28)};
  store_be(&movie.tracks[1].descriptions[0][8 + 16], 1, 2);
  store_be(&movie.tracks[1].descriptions[0][8 + 24], 8000U << 16U, 4);
  return movie;
}

// A frame's bytes tell its track and time, so that the right bytes can be asked for afterwards. Long enough to be torn.
ByteBuffer frame_bytes(std::uint32_t track, std::uint64_t decode_time) {
  ByteBuffer bytes(track == 1 ? 1300 : 90);
  std::uint64_t state = decode_time * 2 + track;
  for (auto& byte : bytes) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<std::uint8_t>(state >> 56U);
  }
  return bytes;
}

struct Frame {
  std::uint32_t track;
  std::uint64_t decode_time;
  bool operator==(const Frame&) const = default;
};

// Ten chunks of five pictures and five sounds a second; acknowledged frames in order.
class Recorded {
 public:
  Recorded() {
    auto made = sys::make_directories(fs, kDirectory);
    EXPECT_TRUE(made);
    spool::RecorderOptions options;
    options.path = wire::RecordingPath{"s", "001", "alice"};
    options.publishing = spool::Publisher::Mode::immediate;  // so that the order of operations is always the same
    options.on_durable = [this](const spool::DurableFrame& frame) {
      acknowledged.push_back({frame.track, frame.decode_time});
      fs.acknowledge(acknowledged.size());
    };
    auto recorder = spool::Recorder::open(fs, kDirectory, std::move(options), spool::Locking::none);
    EXPECT_TRUE(recorder) << recorder.error().message;
    recorder->begin_stream();
    EXPECT_TRUE(recorder->take(mp4::InitItem{test_movie()}));
    for (std::uint64_t ms = 0; ms < 9600; ms += 200) {
      mp4::SampleItem picture{{1, 1, ms, 200, 0, 0, ms % 1000 == 0}, frame_bytes(1, ms)};
      picture.sample.size_bytes = static_cast<std::uint32_t>(picture.data.size());
      EXPECT_TRUE(recorder->take(std::move(picture)));
      if (ms % 600 == 0) {
        EXPECT_TRUE(recorder->commit());
      }
      mp4::SampleItem sound{{2, 1, ms * 8, 1600, 0, 0, true}, frame_bytes(2, ms * 8)};
      sound.sample.size_bytes = static_cast<std::uint32_t>(sound.data.size());
      EXPECT_TRUE(recorder->take(std::move(sound)));
      EXPECT_TRUE(recorder->commit());
    }
    EXPECT_TRUE(recorder->finish(spool::EndOfStream::whole));
    EXPECT_TRUE(recorder->closed());
  }

  SimFileSystem fs;
  std::vector<Frame> acknowledged;
};

std::size_t acknowledged_by(const OpLog& log, std::size_t length) {
  for (std::size_t i = length; i-- > 0;) {
    if (const auto* op = std::get_if<AcknowledgeOp>(&log[i])) return op->frames;
  }
  return 0;
}

// The frames of a recovered recording, their bytes checked; nothing when the bytes are not what was recorded.
std::optional<std::vector<Frame>> frames_of(SimFileSystem& fs, const wire::Manifest& manifest) {
  std::vector<Frame> frames;
  ByteBuffer init;
  for (const auto& file : manifest.files) {
    const auto bytes = sys::read_file(fs, sys::join_path(kDirectory, file.name), 1U << 24U);
    if (!bytes || digest::sha256_hex(*bytes) != file.sha256) return std::nullopt;
    if (file.init) {
      init = *bytes;
      continue;
    }
    mp4::StreamParser parser;
    parser.push(init);
    parser.push(*bytes);
    for (;;) {
      auto item = parser.next();
      if (!item) return std::nullopt;
      if (!*item) break;
      const auto* sample = std::get_if<mp4::SampleItem>(&**item);
      if (sample == nullptr) continue;
      const Frame frame{sample->sample.track_id, sample->sample.decode_time};
      if (sample->data != frame_bytes(frame.track, frame.decode_time)) return std::nullopt;
      frames.push_back(frame);
    }
  }
  return frames;
}

class CrashStates : public testing::Test {
 protected:
  // One crash: recover, ask the oracle. False when this very tree was tried before.
  bool try_state(const char* kind, const Choice& choice) {
    SimFileSystem left = SimFileSystem::after_crash(log(), choice);
    const std::uint64_t before = left.tree_hash();
    if (!seen_.insert(before).second) return false;
    ++counts_[kind];
    const std::size_t acknowledged = acknowledged_by(log(), choice.length);
    if (!recover(left)) return acknowledged == 0 || complain(kind, choice, "recovery failed");
    check(kind, choice, left, acknowledged);
    if (++tried_ % 16 == 0) kill_recovery(choice, left.tree_hash());
    return true;
  }

  bool complain(const char* kind, const Choice& choice, const std::string& what) {
    ADD_FAILURE() << kind << ", crash behind operation " << choice.length << " of " << log().size() << ": " << what
                  << ": " << last_error_;
    return true;
  }

  bool recover(SimFileSystem& fs) {
    if (!fs.info(kDirectory)) return true;  // not even the directory: nothing was acknowledged, or the check finds it
    const auto state = spool::recover_recording(fs, kDirectory, no_log());
    if (!state) last_error_ = state.error().message;
    return state.has_value();
  }

  void check(const char* kind, const Choice& choice, SimFileSystem& left, std::size_t acknowledged) {
    const auto loaded = spool::load_manifest(left, kDirectory);
    if (!loaded) {
      if (acknowledged > 0) complain(kind, choice, "acknowledged frames, but no manifest");
      return;
    }
    if (!loaded->manifest.damage.empty()) complain(kind, choice, loaded->manifest.damage.front().what);
    const auto frames = frames_of(left, loaded->manifest);
    if (!frames) {
      complain(kind, choice, "a listed file is missing or not what it should be");
      return;
    }
    std::map<std::uint32_t, std::vector<std::uint64_t>> by_track;
    for (const Frame& frame : *frames) by_track[frame.track].push_back(frame.decode_time);
    std::map<std::uint32_t, std::size_t> next;
    for (std::size_t i = 0; i < acknowledged; ++i) {
      const Frame& frame = recorded_.acknowledged[i];
      const auto& times = by_track[frame.track];
      std::size_t& at = next[frame.track];
      if (at >= times.size() || times[at] != frame.decode_time) {
        complain(kind, choice, "frame " + std::to_string(i) + " of " + std::to_string(acknowledged) + " is lost");
        return;
      }
      ++at;
    }
    const auto report = spool::verify_recording(left, kDirectory, {});
    if (report && !report->findings.empty()) {
      complain(kind, choice, report->findings.front().name + ": " + report->findings.front().detail);
    }
    const auto before = left.tree();
    if (!recover(left) || left.tree() != before) complain(kind, choice, "a second recovery changes something");
  }

  // The same crash, with recovery killed behind each of its operations.
  void kill_recovery(const Choice& choice, std::uint64_t wanted) {
    for (std::size_t n = 0;; ++n) {
      SimFileSystem left = SimFileSystem::after_crash(log(), choice);
      left.die_after(n);
      if (recover(left) || !left.died()) return;
      // Killed, not cut off from power: what it did is there. Then the power goes as well, and all unsynced is lost.
      for (const bool power : {false, true}) {
        Choice again{left.log().size(), {}, 0};
        if (power) {
          for (const std::size_t i : SimFileSystem::unsynced(left.log(), left.log().size())) {
            again.unsynced[i] = Fate::lost;
          }
        }
        SimFileSystem resumed = SimFileSystem::replay(SimFileSystem::after_crash(log(), choice), left.log(), again);
        if (seen_.insert(resumed.tree_hash() ^ 0x9E3779B97F4A7C15ULL).second) ++counts_["recovery killed"];
        if (!recover(resumed)) {
          complain("recovery killed", choice, "it cannot be run again");
        } else if (resumed.tree_hash() != wanted) {
          complain("recovery killed", choice, "it ends otherwise when killed behind operation " + std::to_string(n));
        }
      }
    }
  }

  const OpLog& log() const { return recorded_.fs.log(); }

  Recorded recorded_;
  std::unordered_set<std::uint64_t> seen_;
  std::map<std::string, std::size_t> counts_;
  std::size_t tried_ = 0;
  std::string last_error_;
};

bool is_data(const Op& op) { return std::holds_alternative<WriteOp>(op) || std::holds_alternative<TruncateOp>(op); }
bool is_rename(const Op& op) { return std::holds_alternative<RenameOp>(op); }

TEST_F(CrashStates, EveryAcknowledgedFrameIsFoundAgain) {
  const char* limit_text = std::getenv("MC_CRASH_STATES");
  const std::size_t limit = limit_text == nullptr ? 3000 : std::strtoull(limit_text, nullptr, 10);
  std::mt19937 random(20261122);  // fixed: a failure can be looked at again
  // First each operation's own states, then random mixtures until there are enough.
  for (std::size_t length = 0; length <= log().size(); ++length) {
    try_state("prefix", {length, {}, 0});
    const auto free = SimFileSystem::unsynced(log(), length);
    Choice all{length, {}, 0};
    for (const std::size_t i : free) all.unsynced[i] = Fate::lost;
    try_state("data dropped", all);
    for (const std::size_t i : free) {
      if (!is_data(log()[i])) {
        try_state(is_rename(log()[i]) ? "rename lost" : "name lost", {length, {{i, Fate::lost}}, 0});
        continue;
      }
      try_state("data dropped", {length, {{i, Fate::lost}}, 0});
      try_state("grown with zeros", {length, {{i, Fate::zeros}}, 0});
      for (std::uint32_t sectors = 0; sectors < 4; ++sectors) {
        try_state("torn at a sector", {length, {{i, Fate::torn}}, sectors});
      }
    }
  }
  for (std::size_t round = 0; seen_.size() < limit && round < limit * 4; ++round) {
    const std::size_t length = random() % (log().size() + 1);
    Choice choice{length, {}, static_cast<std::uint32_t>(random() % 6)};
    for (const std::size_t i : SimFileSystem::unsynced(log(), length)) {
      const auto fate = static_cast<Fate>(random() % (is_data(log()[i]) ? 4 : 2));
      choice.unsynced[i] = fate;
    }
    try_state("mixed", choice);
  }
  std::size_t sum = 0;
  for (const auto& [kind, count] : counts_) {
    std::printf("%-16s %8zu\n", kind.c_str(), count);
    sum += count;
  }
  std::printf("%-16s %8zu distinct states of %zu operations\n", "all", sum, log().size());
  EXPECT_GT(sum, 700U);
}

}  // namespace
}  // namespace mc::crash
