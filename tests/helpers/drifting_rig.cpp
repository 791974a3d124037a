// drifting_rig --minutes M [--clock-ppm P] [--camera-ppm P] [--sound-ppm P] [--unsteered]: the NUT stream of a rig that
// records for so long, as fast as it can be encoded, with nothing simulated but what is outside: its crystals, each as
// wrong as it is told, its devices, and a network of 40 ms there and back of which nobody knows how much is there.
//
// Both devices watch the same world. The picture's luma rises from 16 to 235 in two seconds of true time and starts
// again; at each whole ten seconds of true time there is a burst of 1 kHz in the sound. So the true time can be read
// back from a joined file: `tests/helpers/read_true_time`.
//
// --unsteered: what is learned of the session clock behind the start is not told to the recording.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "control/session_clock.hpp"
#include "media/lane.hpp"
#include "media/nut_writer.hpp"
#include "sys/fd.hpp"

namespace {

using namespace mc;
using namespace mc::media;

constexpr std::int64_t kSecond = kNanosecondsPerSecond;
constexpr std::int64_t kEpoch = 1'790'000'000 * kSecond;  // session time where true time is 0
constexpr int kWidth = 64, kHeight = 48, kFrames = 30, kRate = 48'000, kBlock = 1024;
constexpr std::int64_t kRoundTrip = 40'000'000, kCompareEvery = 10 * kSecond;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "drifting_rig: error: %s\n", why.c_str());
  std::exit(1);
}
void must(const Status& status) {
  if (!status) die(status.error().message);
}

struct Wrong {
  double clock_ppm = 0, camera_ppm = 0, sound_ppm = 0;
};

// The rig's own clocks: the monotonic one at its own pace, the wall clock off by an hour.
class RigClock final : public Clock {
 public:
  explicit RigClock(double ppm) : rate_(1 + ppm * 1e-6) {}
  void go_to(std::int64_t true_ns) { true_ns_ = true_ns; }
  std::int64_t at(std::int64_t true_ns) const {
    return 5'000 * kSecond + static_cast<std::int64_t>(std::llround(static_cast<double>(true_ns) * rate_));
  }
  std::int64_t monotonic_ns() const override { return at(true_ns_); }
  std::int64_t wall_ns() const override { return kEpoch + 3600 * kSecond + true_ns_; }

 private:
  double rate_;
  std::int64_t true_ns_ = 0;
};

class Rig {
 public:
  Rig(const Wrong& wrong, bool steered) : wrong_(wrong), steered_(steered), clock_(wrong.clock_ppm), timeline_(clock_) {
    options_.video_bitrate = 200'000;
    options_.audio_bitrate = 64'000;
    options_.preset = "ultrafast";
    options_.clock = &clock_;
    picture_.reset(av_packet_alloc());
    sound_.reset(av_packet_alloc());
    if (av_new_packet(picture_.get(), kWidth * kHeight * 3 / 2) < 0 || av_new_packet(sound_.get(), kBlock * 2) < 0) {
      die("no memory");
    }
  }

  void record(std::int64_t minutes) {
    open_lanes();
    for (int i = 0; i < 8; ++i) compare(i * kRoundTrip);
    const std::int64_t begin = kSecond, end = begin + minutes * 60 * kSecond;
    clock_.go_to(begin / 2);
    timeline_.set_session(reading().offset_us * 1000, reading().bound_us);
    timeline_.set_t0(kEpoch + begin);
    timeline_.set_end(kEpoch + end);
    timeline_.arm();
    NutWriter nut(streams_, {{"maycast-t0", format_utc(timeline_.t0_ns())},
                             {"maycast-bound-us", std::to_string(timeline_.bound_us())}});
    write(nut.header());
    output_.event({{"event", "start"}, {"t0", format_utc(timeline_.t0_ns())}}, timeline_.t0_ns());
    std::int64_t next_comparison = kCompareEvery;
    while (!lanes_[0]->done() || !lanes_[1]->done()) {
      const std::int64_t picture_at = true_time(frames_, kFrames, wrong_.camera_ppm);
      const std::int64_t sound_at = true_time(blocks_ * kBlock, kRate, wrong_.sound_ppm);
      const std::int64_t now = std::min(picture_at, sound_at);
      clock_.go_to(now);
      if (now >= next_comparison) {
        compare(now);
        next_comparison += kCompareEvery;
        if (steered_) timeline_.follow_session(reading().offset_us * 1000, reading().bound_us);
      }
      if (picture_at <= sound_at) {
        take_picture(picture_at);
      } else {
        take_sound(sound_at);
      }
      drain(nut);
    }
    for (const auto& lane : lanes_) must(lane->feed(nullptr));
    output_.event({{"event", "end"}}, kEpoch + end);
    drain(nut);
  }

 private:
  static std::int64_t true_time(std::int64_t n, int rate, double ppm) {
    return static_cast<std::int64_t>(std::llround(static_cast<double>(n) / (rate * (1 + ppm * 1e-6)) * 1e9));
  }

  void open_lanes() {
    format_.reset(avformat_alloc_context());
    AVStream* picture = avformat_new_stream(format_.get(), nullptr);
    picture->time_base = {1, 1'000'000};
    picture->avg_frame_rate = picture->r_frame_rate = {kFrames, 1};
    picture->codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    picture->codecpar->codec_id = AV_CODEC_ID_RAWVIDEO;
    picture->codecpar->format = AV_PIX_FMT_YUV420P;
    picture->codecpar->width = kWidth;
    picture->codecpar->height = kHeight;
    AVStream* sound = avformat_new_stream(format_.get(), nullptr);
    sound->time_base = {1, 1'000'000};
    sound->codecpar->codec_type = AVMEDIA_TYPE_AUDIO;
    sound->codecpar->codec_id = AV_CODEC_ID_PCM_S16LE;
    sound->codecpar->format = AV_SAMPLE_FMT_S16;
    sound->codecpar->sample_rate = kRate;
    av_channel_layout_default(&sound->codecpar->ch_layout, 1);
    const DeviceSpec camera{Backend::v4l2, "simulated", "v4l2:simulated"};
    const DeviceSpec microphone{Backend::alsa, "simulated", "alsa:simulated"};
    for (int i = 0; i < 2; ++i) {
      auto lane = Lane::open(*format_->streams[i], i == 0 ? camera : microphone, options_);
      if (!lane) die(lane.error().message);
      streams_.push_back((*lane)->stream());
      lanes_.push_back(std::move(*lane));
    }
    Stream events;
    events.kind = StreamKind::events;
    events.time_base = {1, 1'000'000};
    streams_.push_back(events);
    queue_ = std::make_unique<PacketQueue>(options_.queue_bytes, 2);
    output_ = {queue_.get(), &timeline_, &key_frames_wanted_, 2};
    for (std::uint32_t i = 0; i < 2; ++i) lanes_[i]->attach(output_, i);
  }

  // One exchange with the server, of which a third to two thirds of the time is there.
  void compare(std::int64_t now) {
    const std::int64_t there = std::uniform_int_distribution<std::int64_t>(kRoundTrip / 8, kRoundTrip * 7 / 8)(random_);
    const std::int64_t session_us = (kEpoch + now + there) / 1000;
    session_.add({clock_.at(now) / 1000, session_us, session_us, clock_.at(now + kRoundTrip) / 1000});
  }
  control::SessionClock::Estimate reading() const { return session_.at(clock_.monotonic_ns() / 1000).value(); }

  void take_picture(std::int64_t at) {
    const double phase = std::fmod(static_cast<double>(at) / 1e9, 2.0) / 2.0;
    std::memset(picture_->data, static_cast<int>(std::lround(16 + 219 * phase)), kWidth * kHeight);
    std::memset(picture_->data + kWidth * kHeight, 128, kWidth * kHeight / 2);
    picture_->pts = clock_.at(at) / 1000;
    ++frames_;
    must(lanes_[0]->feed(picture_.get()));
  }

  void take_sound(std::int64_t at) {
    for (int i = 0; i < kBlock; ++i) {
      const double t = static_cast<double>(true_time(blocks_ * kBlock + i, kRate, wrong_.sound_ppm)) / 1e9;
      const double in_burst = std::fmod(t, 10.0);
      const double level = in_burst < 0.1 ? 0.5 * std::sin(in_burst * 2 * 3.14159265358979 * 1000) : 0;
      const auto sample = static_cast<std::int16_t>(std::lround(level * 32767));
      std::memcpy(sound_->data + i * 2, &sample, 2);
    }
    // Whoever reads the device's clock comes late by up to 3 ms.
    sound_->pts = (clock_.at(at) + std::uniform_int_distribution<std::int64_t>(0, 3'000'000)(random_)) / 1000;
    ++blocks_;
    must(lanes_[1]->feed(sound_.get()));
  }

  void drain(NutWriter& nut) {
    while (queue_->bytes() > 0) {
      const auto packet = queue_->pop();
      auto bytes = nut.packet({packet->stream, packet->pts, packet->key, packet->data});
      if (!bytes) die(bytes.error().message);
      write(*bytes);
    }
  }
  static void write(const ByteBuffer& bytes) { must(sys::write_all(1, bytes, "stdout")); }

  Wrong wrong_;
  bool steered_;
  RigClock clock_;
  Timeline timeline_;
  control::SessionClock session_;
  CaptureOptions options_;
  FormatPtr format_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Stream> streams_;
  std::unique_ptr<PacketQueue> queue_;
  LaneOutput output_;
  std::atomic<std::uint32_t> key_frames_wanted_{0};
  PacketPtr picture_, sound_;
  std::int64_t frames_ = 0, blocks_ = 0;
  std::mt19937_64 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
  Wrong wrong;
  bool steered = true;
  std::int64_t minutes = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] { return ++i < argc ? std::atof(argv[i]) : 0; };
    if (name == "--minutes") {
      minutes = static_cast<std::int64_t>(value());
    } else if (name == "--clock-ppm") {
      wrong.clock_ppm = value();
    } else if (name == "--camera-ppm") {
      wrong.camera_ppm = value();
    } else if (name == "--sound-ppm") {
      wrong.sound_ppm = value();
    } else if (name == "--unsteered") {
      steered = false;
    } else {
      die("not an option: '" + name + "'");
    }
  }
  if (minutes <= 0) die("--minutes is missing");
  Rig(wrong, steered).record(minutes);
  return 0;
}
