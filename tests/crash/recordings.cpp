#include "crash/recordings.hpp"

#include <algorithm>
#include <random>

#include "mp4/stream_parser.hpp"
#include "spool/recording.hpp"

namespace mc::crash {
namespace {

constexpr std::int64_t kT0 = 1'700'000'000'000'000'000;
constexpr char kStart[] =
    R"({"event":"start","recording":"00112233445566778899aabbccddeeff","t0":"2023-11-14T22:13:20.000000000Z","bound-us":5})";

class FixedClock final : public Clock {
 public:
  std::int64_t wall_ns() const override { return kT0; }
  std::int64_t monotonic_ns() const override { return kT0; }
};

ByteBuffer sample_entry(const char (&type)[5], std::size_t fixed, std::uint8_t flavour) {
  ByteBuffer box;
  append_be(box, 8 + fixed + 9, 4);
  append(box, as_bytes(std::string_view(type, 4)));
  box.resize(8 + fixed);
  box[15] = 1;  // data_reference_index
  append_be(box, 9, 4);
  append(box, as_bytes("free"));
  box.push_back(flavour);
  return box;
}

mp4::Movie movie_of(const Shape& shape, std::uint8_t flavour) {
  mp4::Movie movie;
  if (shape.picture) {
    mp4::Track& picture = movie.tracks.emplace_back();
    picture.id = 1;
    picture.kind = mp4::TrackKind::video;
    picture.timescale = 1000;
    picture.nominal_duration = 200;
    picture.width = picture.height = 16;
    picture.descriptions = {sample_entry("avc1", 78, flavour)};
    store_be(&picture.descriptions[0][8 + 24], 16, 2);
    store_be(&picture.descriptions[0][8 + 26], 16, 2);
  }
  mp4::Track& sound = movie.tracks.emplace_back();
  sound.id = 2;
  sound.kind = mp4::TrackKind::audio;
  sound.timescale = 8000;
  sound.nominal_duration = 1600;
  sound.sample_rate = 8000;
  sound.channels = 1;
  sound.descriptions = {sample_entry("fLaC", 28, 1)};
  store_be(&sound.descriptions[0][8 + 16], 1, 2);
  store_be(&sound.descriptions[0][8 + 24], 8000U << 16U, 4);
  return movie;
}

// One run of a recorder over [from, to) milliseconds of a shape.
class Run {
 public:
  Run(const Shape& shape, SimFileSystem& sim, sys::FileSystem& seen, std::vector<Frame>& acknowledged)
      : shape_(shape), sim_(sim), seen_(seen), acknowledged_(acknowledged), random_(shape.seed) {}

  bool go(std::uint64_t from, std::uint64_t to, bool to_the_end) {
    spool::RecorderOptions options;
    options.path = wire::RecordingPath{"s", "001", "alice"};
    options.publishing = spool::Publisher::Mode::immediate;
    options.clock = &clock_;
    options.on_durable = [this](const spool::DurableFrame& frame) {
      acknowledged_.push_back({frame.track, frame.decode_time});
      sim_.acknowledge(acknowledged_.size());
    };
    auto recorder = spool::Recorder::open(seen_, kDirectory, std::move(options), spool::Locking::none);
    if (!recorder) return false;
    recorder->begin_stream();
    mp4::Event start;
    start.json = kStart;
    if (!recorder->take(mp4::EventItem{start}) || !recorder->take(mp4::InitItem{movie_of(shape_, 1)})) return false;
    for (std::uint64_t ms = from; ms < to; ms += 200) {
      if (!step(*recorder, ms)) return false;
    }
    if (!to_the_end) return recorder->commit().has_value();  // and no more: the power fails
    if (shape_.disk_full) return recorder->finish(spool::EndOfStream::disk_full).has_value();
    mp4::Event end;
    end.time = to;
    end.timescale = 1000;
    end.json = R"({"event":"end"})";
    return recorder->take(mp4::EventItem{end}) && recorder->finish(spool::EndOfStream::whole) && recorder->closed();
  }

 private:
  bool step(spool::Recorder& recorder, std::uint64_t ms) {
    if (shape_.hole && ms >= 3600 && ms < 5200) {
      if (ms != 3600) return true;
      return event(recorder, R"({"event":"gap","reason":"device-lost"})", ms);
    }
    if (shape_.mark && ms % 2400 == 600 && !event(recorder, R"({"event":"mark","text":"here"})", ms)) return false;
    if (shape_.new_parameters && ms == 6000 && !recorder.take(mp4::InitItem{movie_of(shape_, 2)})) return false;
    if (shape_.picture && !frame(recorder, {1, ms}, 200, ms % 1000 == 0, 200 + random_() % shape_.largest))
      return false;
    // Some frames share a flush with the next.
    if (random_() % 3 == 0 && !recorder.commit()) return false;
    if (!frame(recorder, {2, ms * 8}, 1600, true, 40 + random_() % 100)) return false;
    return random_() % 4 == 0 || recorder.commit();
  }

  static bool event(spool::Recorder& recorder, const char* json, std::uint64_t ms) {
    mp4::Event e;
    e.time = ms;
    e.timescale = 1000;
    e.json = json;
    return recorder.take(mp4::EventItem{e}).has_value();
  }

  static bool frame(spool::Recorder& recorder, const Frame& what, std::uint32_t duration, bool sync, std::size_t size) {
    mp4::SampleItem item;
    item.sample = {what.track, 1, what.decode_time, duration, 0, static_cast<std::uint32_t>(size), sync};
    item.data = frame_bytes(what, size);
    return recorder.take(std::move(item)).has_value();
  }

  const Shape& shape_;
  SimFileSystem& sim_;
  sys::FileSystem& seen_;
  std::vector<Frame>& acknowledged_;
  std::mt19937 random_;
  FixedClock clock_;
};

Node node_of_created(const OpLog& log, const std::string& name) {
  for (const Op& op : log) {
    const auto* create = std::get_if<CreateOp>(&op);
    if (create != nullptr && create->name == name) return create->node;
  }
  return UINT32_MAX;
}

// The seal of the last chunk: the last that is written to the newest journal.
std::size_t last_seal(const OpLog& log) {
  Node journal = UINT32_MAX;
  for (const Op& op : log) {
    const auto* create = std::get_if<CreateOp>(&op);
    if (create != nullptr && create->name.starts_with(".journal-")) journal = create->node;
  }
  for (std::size_t i = log.size(); i-- > 0;) {
    const auto* write = std::get_if<WriteOp>(&log[i]);
    if (write != nullptr && write->node == journal) return i;
  }
  return log.size();
}

bool creates_init(const Op& op) {
  const auto* create = std::get_if<CreateOp>(&op);
  return create != nullptr && create->name.starts_with(".stage-init");
}

// mkdir -p, as a shell does it.
bool make_unsynced(sys::FileSystem& fs) {
  const std::string path = kDirectory;
  for (auto slash = path.find('/');; slash = path.find('/', slash + 1)) {
    if (!fs.make_directory(path.substr(0, slash))) return false;
    if (slash == std::string::npos) return true;
  }
}

}  // namespace

ByteBuffer frame_bytes(const Frame& frame, std::size_t size) {
  ByteBuffer bytes(size);
  std::uint64_t state = frame.decode_time * 2 + frame.track;
  for (auto& byte : bytes) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<std::uint8_t>(state >> 56U);
  }
  return bytes;
}

bool is_frame(const Frame& frame, ByteView bytes) {
  const ByteBuffer want = frame_bytes(frame, bytes.size());
  return bytes.size() >= 40 && std::ranges::equal(want, bytes);
}

Shape shape_of(std::uint32_t number) {
  Shape shape;
  shape.seed = number * 2654435761U + 17;
  shape.picture = number % 5 != 4;
  shape.largest = number % 3 == 0 ? 600 : number % 3 == 1 ? 3000 : 9000;
  shape.new_parameters = shape.picture && number % 4 == 1;
  shape.hole = number % 4 == 2;
  shape.mark = number % 2 == 1;
  shape.continued = number % 3 == 2;
  shape.disk_full = number % 7 == 3;
  shape.made_before = number % 4 == 0 && !shape.continued;
  return shape;
}

Recorded record(const Shape& shape, const Wrap& wrap) {
  constexpr std::uint64_t kEndMs = 9600;
  constexpr std::uint64_t kBreakMs = 4600;
  Recorded recorded;
  recorded.picture = shape.picture;
  const auto go = [&](SimFileSystem& sim, std::uint64_t from, std::uint64_t to, bool to_the_end) {
    const auto wrapped = wrap ? wrap(sim) : nullptr;
    sys::FileSystem& seen = wrapped ? *wrapped : static_cast<sys::FileSystem&>(sim);
    return Run(shape, sim, seen, recorded.acknowledged).go(from, to, to_the_end);
  };
  if (shape.continued) {
    SimFileSystem first;
    if (!go(first, 0, kBreakMs, false)) return recorded;
    Choice cut{first.log().size(), {}, 0};
    for (const std::size_t i : SimFileSystem::unsynced(first.log(), first.log().size())) cut.unsynced[i] = Fate::lost;
    recorded.start = SimFileSystem::after_crash(first.log(), cut);
    recorded.acknowledged_before = recorded.acknowledged.size();
  }
  SimFileSystem sim = recorded.start;
  if (shape.made_before && !make_unsynced(sim)) return recorded;
  recorded.whole = go(sim, shape.continued ? 6000 : 0, kEndMs, true);
  recorded.log = sim.log();
  return recorded;
}

OpLog interleave(const OpLog& log, std::uint32_t seed) {
  std::mt19937 random(seed);
  // How late the other thread runs: from nearly at once to as late as it may.
  const std::uint32_t eagerness = 1 + random() % 16;
  OpLog merged;
  std::vector<Op> waiting;  // of the publisher, in order
  std::size_t next = 0;
  const auto publish = [&](std::size_t count) {
    for (; count > 0 && next < waiting.size(); --count) merged.push_back(waiting[next++]);
  };
  Node sealed = UINT32_MAX;
  std::string sealed_name;
  std::string newest_journal;
  std::string older_journal;
  std::vector<std::size_t> chunk_ends;  // in `waiting`
  const std::size_t end = last_seal(log);
  for (std::size_t i = 0; i < log.size(); ++i) {
    if (const auto* create = std::get_if<CreateOp>(&log[i]);
        create != nullptr && create->name.starts_with(".journal-")) {
      older_journal = std::exchange(newest_journal, create->name);
    }
    const auto* write = std::get_if<WriteOp>(&log[i]);
    if (sealed == UINT32_MAX && write != nullptr && !older_journal.empty() &&
        write->node == node_of_created(log, older_journal)) {
      sealed = write->node;  // nothing but its seal goes into a journal that has a successor
      sealed_name = older_journal;
    }
    if (sealed != UINT32_MAX) {
      waiting.push_back(log[i]);
      const auto* remove = std::get_if<RemoveOp>(&log[i]);
      if (remove != nullptr && remove->name == sealed_name) {
        sealed = UINT32_MAX;
        older_journal.clear();
        chunk_ends.push_back(waiting.size());
        // No more chunks may wait than the publisher takes, and one at hand.
        const std::size_t unfinished = static_cast<std::size_t>(
            std::ranges::count_if(chunk_ends, [&](std::size_t chunk_end) { return chunk_end > next; }));
        if (unfinished > spool::Publisher::kMaxWaiting) publish(chunk_ends[chunk_ends.size() - 4] - next);
      }
      continue;
    }
    if (i == end || creates_init(log[i])) publish(waiting.size());
    merged.push_back(log[i]);
    if (random() % 16 < eagerness) publish(random() % 3);
  }
  publish(waiting.size());
  return merged;
}

Status continue_and_close(SimFileSystem& fs, bool picture) {
  Shape shape;
  shape.picture = picture;
  shape.largest = 100;
  std::vector<Frame> acknowledged;
  Run run(shape, fs, fs, acknowledged);
  if (!run.go(60'000, 61'000, true)) return fail(ErrorKind::bug, "cannot be continued and closed");
  return {};
}

}  // namespace mc::crash
