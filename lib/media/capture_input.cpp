#include "media/capture_input.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "media/av_error.hpp"

extern "C" {
#include <libavdevice/avdevice.h>
#include <libavutil/dict.h>
#include <libavutil/mathematics.h>
}

namespace mc::media {
namespace {

constexpr std::int64_t kAheadNs = 500'000'000;

const char* format_name(Backend backend) {
  switch (backend) {
    case Backend::v4l2: return "video4linux2,v4l2";
    case Backend::x11: return "x11grab";
    case Backend::alsa: return "alsa";
    case Backend::pulse: return "pulse";
    case Backend::lavfi: return "lavfi";
    case Backend::file: return nullptr;
  }
  return nullptr;
}

class Dictionary {
 public:
  Dictionary() = default;
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;
  ~Dictionary() { av_dict_free(&entries_); }
  void set(const char* key, const std::string& value) {
    if (!value.empty()) av_dict_set(&entries_, key, value.c_str(), 0);
  }
  AVDictionary** get() { return &entries_; }

 private:
  AVDictionary* entries_ = nullptr;
};

Error open_error(int code, const DeviceSpec& device) {
  Error error = av_error(code, "cannot open '" + device.text + "'");
  if (device.backend == Backend::file) {
    if (error.kind == ErrorKind::config)
      error.kind = ErrorKind::damaged;  // of what the file says: nothing was asked for
    return error;
  }
  if (device.backend == Backend::lavfi) {
    error.kind = ErrorKind::usage;
    error.hint = "see ffmpeg-filters(1) for sources and filters";
    return error;
  }
  // Devices answer a missing device, a missing server and a wrong display alike.
  if (error.kind == ErrorKind::io || error.kind == ErrorKind::config) error.kind = ErrorKind::not_found;
  error.hint = "is the device there, and does it take this size and rate?";
  return error;
}

}  // namespace

void CaptureControl::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

bool CaptureControl::wait_until(const Clock& clock, std::int64_t monotonic_ns) {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const std::int64_t left = monotonic_ns - clock.monotonic_ns();
    if (left <= 0) return true;
    changed_.wait_for(lock, std::chrono::nanoseconds(left));
  }
  return false;
}

bool CaptureControl::wait_for_others(std::size_t index, std::int64_t position_ns) {
  std::unique_lock lock(mutex_);
  positions_ns_[index] = std::max(positions_ns_[index], position_ns);
  changed_.notify_all();
  changed_.wait(lock, [&] {
    const auto slowest = *std::min_element(positions_ns_.begin(), positions_ns_.end());
    return stopped_ || positions_ns_[index] <= slowest || positions_ns_[index] - slowest <= kAheadNs;
  });
  return !stopped_;
}

void CaptureControl::leave(std::size_t index) {
  const std::lock_guard lock(mutex_);
  positions_ns_[index] = std::numeric_limits<std::int64_t>::max();
  changed_.notify_all();
}

CaptureInput::CaptureInput(DeviceSpec device, const CaptureOptions& options)
    : device_(std::move(device)), pace_(options.pace), clock_(*options.clock) {}

Result<std::unique_ptr<CaptureInput>> CaptureInput::open(const DeviceSpec& device, Want picture, Want sound,
                                                         const CaptureOptions& options) {
  std::unique_ptr<CaptureInput> input(new CaptureInput(device, options));
  MC_TRY(input->open_format(options));
  for (const AVMediaType type : {AVMEDIA_TYPE_VIDEO, AVMEDIA_TYPE_AUDIO}) {
    const Want want = type == AVMEDIA_TYPE_VIDEO ? picture : sound;
    if (want == Want::no) continue;
    const int index = av_find_best_stream(input->format_.get(), type, -1, -1, nullptr, 0);
    if (index < 0 || (input->format_->streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) {
      if (want == Want::if_present) continue;
      return fail(ErrorKind::not_found,
                  std::string(type == AVMEDIA_TYPE_VIDEO ? "no picture" : "no sound") + " in '" + device.text + "'");
    }
    const AVStream& stream = *input->format_->streams[index];
    MC_TRY_ASSIGN(auto lane, Lane::open(stream, device, options));
    lane->set_origin_us(input->origin_us_);
    input->lanes_.push_back(std::move(lane));
  }
  for (unsigned i = 0; i < input->format_->nb_streams; ++i) {
    const bool used = std::any_of(input->lanes_.begin(), input->lanes_.end(),
                                  [i](const auto& lane) { return lane->input_index() == static_cast<int>(i); });
    if (!used) input->format_->streams[i]->discard = AVDISCARD_ALL;
  }
  return input;
}

Status CaptureInput::open_format(const CaptureOptions& options) {
  avdevice_register_all();
  const char* name = format_name(device_.backend);
  const AVInputFormat* format = name != nullptr ? av_find_input_format(name) : nullptr;
  if (name != nullptr && format == nullptr) {
    return fail(ErrorKind::config, "this libavdevice cannot open '" + device_.text + "'");
  }
  Dictionary dictionary;
  if (device_.backend == Backend::v4l2 || device_.backend == Backend::x11) {
    dictionary.set("video_size", options.size);
    dictionary.set("framerate", options.rate);
  }
  if (device_.backend == Backend::alsa) dictionary.set("sample_rate", "48000");
  if (device_.backend == Backend::pulse) dictionary.set("fragment_size", "3840");  // 20 ms; else up to two seconds
  AVFormatContext* opened = avformat_alloc_context();
  if (opened == nullptr) return fail(av_error(AVERROR(ENOMEM), "cannot open '" + device_.text + "'"));
  opened->interrupt_callback.callback = [](void* flag) {
    return static_cast<std::atomic<bool>*>(flag)->load() ? 1 : 0;
  };
  opened->interrupt_callback.opaque = interrupted_.get();
  const std::string address = device_.backend == Backend::file ? "file:" + device_.address : device_.address;
  int code = avformat_open_input(&opened, address.c_str(), format, dictionary.get());
  if (code < 0) return fail(open_error(code, device_));
  format_.reset(opened);
  if (device_.backend != Backend::file) return {};
  if (code = avformat_find_stream_info(opened, nullptr); code < 0) return fail(open_error(code, device_));
  origin_us_ = opened->start_time == AV_NOPTS_VALUE ? 0 : opened->start_time;
  return {};
}

bool CaptureInput::all_done() const {
  return std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->done(); });
}

Status CaptureInput::run(CaptureControl& control, std::size_t index, std::int64_t start_ns) {
  Status ended = read(control, index, start_ns);
  // The last frames count, however it ended.
  for (const auto& lane : lanes_) {
    const Status flushed = lane->feed(nullptr);
    if (ended && !flushed) ended = flushed;
  }
  control.leave(index);
  return ended;
}

Status CaptureInput::read(CaptureControl& control, std::size_t index, std::int64_t start_ns) {
  const PacketPtr packet(av_packet_alloc());
  if (!packet) return fail(av_error(AVERROR(ENOMEM), "cannot capture"));
  while (!control.stopped() && !all_done()) {
    const int code = av_read_frame(format_.get(), packet.get());
    if (code == AVERROR(EAGAIN)) continue;
    if (code < 0 && control.stopped()) break;
    if (code == AVERROR_EOF && !device_.is_live()) break;
    if (code < 0) return fail(av_error(code, "'" + device_.text + "' is lost"));
    for (const auto& lane : lanes_) {
      if (lane->input_index() != packet->stream_index) continue;
      const std::int64_t stamp = packet->dts != AV_NOPTS_VALUE ? packet->dts : packet->pts;
      if (!device_.is_live() && stamp != AV_NOPTS_VALUE) {
        const AVRational base = format_->streams[packet->stream_index]->time_base;
        const std::int64_t position_ns = (av_rescale_q(stamp, base, {1, 1'000'000}) - origin_us_) * 1000;
        const bool go = pace_ == Pace::real_time ? control.wait_until(clock_, start_ns + position_ns)
                                                 : control.wait_for_others(index, position_ns);
        if (!go) break;
      }
      const Status fed = lane->feed(packet.get());
      if (!fed) {
        av_packet_unref(packet.get());
        return fed;
      }
    }
    av_packet_unref(packet.get());
  }
  return {};
}

}  // namespace mc::media
