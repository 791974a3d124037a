// A recording of many hours, as fast as it is taken: the frames of a short NUT stream over and over, on stdout, with
// the time stamps of a long day. For tests of what only time brings.
//
//   long_take TEMPLATE.nut HOURS START_S MARK_H
//
// TEMPLATE has one picture stream and one sound stream, one second of each that can be repeated. The stream's t0 is
// START_S seconds before its first frame. Over HOURS of frames
//   - the sound clock is 100 ppm fast, in the second half 100 ppm slow: its time stamps follow the capture clock;
//   - at a quarter the machine is suspended for an hour, told by a gap event of both tracks;
//   - at three quarters all time stamps go back by 3 s, as those of a source that stamps by the wall clock.
// At MARK_H hours and at the end, before the event "end", it says "mark PICTURES SOUNDS" on stderr and waits for a line
// on stdin, so that the others can be looked at.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/json.hpp"
#include "base/units.hpp"
#include "media/nut_reader.hpp"
#include "media/nut_writer.hpp"
#include "sys/fd.hpp"
#include "sys/file_system.hpp"

namespace {

using namespace mc;
using namespace mc::media;

constexpr std::int64_t kEpochNs = 1'790'000'000'000'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "long_take: %s\n", what.c_str());
  std::exit(70);
}

struct Lane {
  std::uint32_t stream = 0;
  std::vector<ByteBuffer> frames;
  std::vector<bool> keys;
  double rate = 0;  // frames per second of its own clock
  std::uint64_t sent = 0;
};

class Take {
 public:
  Take(const char* path, double hours, std::int64_t start_s, double mark_h)
      : length_(static_cast<std::int64_t>(hours * 3600 * 1e9)),
        mark_(static_cast<std::int64_t>(mark_h * 3600 * 1e9)),
        start_(start_s * kSecond) {
    load(path);
  }

  void run() {
    std::vector<Stream> streams{template_[picture_.stream], template_[sound_.stream], {}};
    streams[0].time_base = {1, 90000};
    streams[0].nominal_ticks = static_cast<std::int64_t>(90000 / picture_.rate);
    streams[1].time_base = {1, streams[1].parameters->sample_rate};
    streams[1].nominal_ticks = 1024;
    streams[2].kind = StreamKind::events;
    streams[2].time_base = {1, 1000};
    writer_.emplace(streams, Tags{{"maycast-t0", format_utc(kEpochNs)}});
    out_ = writer_->header();
    event(0, {{"event", "start"}, {"t0", format_utc(kEpochNs)}});
    bool marked = false, suspended = false;
    for (;;) {
      const std::int64_t picture_at = at(picture_, 1.0), sound_at = at_sound();
      const std::int64_t now = std::min(picture_at, sound_at);
      if (now >= length_) break;
      if (!marked && now >= mark_) {
        marked = true;
        mark();
      }
      if (!suspended && now >= length_ / 4) {
        suspended = true;
        event(now, {{"event", "gap"}, {"reason", "suspended"}});
      }
      if (picture_at <= sound_at) {
        send(picture_, 0, picture_at, 90000);
      } else {
        send(sound_, 1, sound_at, streams[1].time_base.denominator);
      }
    }
    mark();
    event(length_, {{"event", "end"}});
    flush();
  }

 private:
  void load(const char* path) {
    auto bytes = sys::read_file(sys::real_file_system(), path, 1U << 26);
    if (!bytes) die(bytes.error().message);
    NutReader reader;
    reader.push(*bytes);
    std::vector<Lane*> lanes;
    for (;;) {
      auto packet = reader.next();
      if (!packet) die(packet.error().message);
      if (!*packet) break;
      if (lanes.empty()) {
        template_ = reader.streams();
        for (std::uint32_t i = 0; i < template_.size(); ++i) {
          Lane* lane = template_[i].kind == StreamKind::picture ? &picture_
                       : template_[i].kind == StreamKind::sound ? &sound_
                                                                : nullptr;
          if (lane != nullptr) lane->stream = i;
          lanes.push_back(lane);
        }
      }
      Lane* lane = lanes[(*packet)->stream];
      if (lane == nullptr) continue;
      lane->frames.emplace_back((*packet)->data.begin(), (*packet)->data.end());
      lane->keys.push_back((*packet)->key);
    }
    if (picture_.frames.empty() || sound_.frames.empty()) die("the template lacks pictures or sound");
    picture_.rate = static_cast<double>(picture_.frames.size());
    sound_.rate = template_[sound_.stream].parameters->sample_rate / 1024.0;
  }

  // The time of the lane's next frame since the first one, without suspend and step.
  static std::int64_t at(const Lane& lane, double speed) {
    return static_cast<std::int64_t>(static_cast<double>(lane.sent) / lane.rate / speed * 1e9);
  }
  std::int64_t at_sound() const {
    const std::int64_t fast = at(sound_, 1.0001);
    if (fast <= length_ / 2) return fast;
    const double frames_before = static_cast<double>(length_ / 2) / 1e9 * sound_.rate * 1.0001;
    const double behind = static_cast<double>(sound_.sent) - frames_before;
    return length_ / 2 + static_cast<std::int64_t>(behind / sound_.rate / 0.9999 * 1e9);
  }

  // On the stream's clock: behind the suspend, and after the step.
  std::int64_t stamped(std::int64_t at) const {
    std::int64_t ns = kEpochNs + start_ + at;
    if (at >= length_ / 4) ns += 3600 * kSecond;
    if (at >= length_ / 4 * 3) ns -= 3 * kSecond;
    return ns;
  }

  void send(Lane& lane, std::uint32_t stream, std::int64_t at, std::int64_t timescale) {
    const std::size_t i = lane.sent % lane.frames.size();
    const std::int64_t pts = rescale(stamped(at), kSecond, static_cast<std::uint64_t>(timescale));
    add({stream, pts, lane.keys[i], lane.frames[i]});
    ++lane.sent;
  }
  void event(std::int64_t at, const json::object& object) {
    const std::string text = json::to_text(object);
    add({2, stamped(at) / 1'000'000, true, as_bytes(text)});
  }
  void add(const Packet& packet) {
    auto bytes = writer_->packet(packet);
    if (!bytes) die(bytes.error().message);
    out_.insert(out_.end(), bytes->begin(), bytes->end());
    if (out_.size() > 60'000) flush();
  }
  void flush() {
    if (!sys::write_all(1, out_, "stdout")) std::exit(74);
    out_.clear();
  }
  void mark() {
    flush();
    std::fprintf(stderr, "mark %llu %llu\n", static_cast<unsigned long long>(picture_.sent),
                 static_cast<unsigned long long>(sound_.sent));
    for (int c = std::getchar(); c != '\n'; c = std::getchar()) {
      if (c == EOF) std::exit(1);
    }
  }

  std::int64_t length_, mark_, start_;
  std::vector<Stream> template_;
  Lane picture_, sound_;
  std::optional<NutWriter> writer_;
  ByteBuffer out_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: long_take TEMPLATE.nut HOURS START_S MARK_H\n");
    return 64;
  }
  Take(argv[1], std::atof(argv[2]), std::atoll(argv[3]), std::atof(argv[4])).run();
}
