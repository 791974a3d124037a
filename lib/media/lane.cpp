#include "media/lane.hpp"

#include <algorithm>
#include <utility>

#include "media/av_error.hpp"
#include "media/picture_lane.hpp"
#include "media/sound_lane.hpp"

extern "C" {
#include <libavutil/mathematics.h>
}

namespace mc::media {
namespace {

constexpr char kQueueOverflow[] = "queue-overflow";
constexpr AVRational kMicrosecond{1, 1'000'000};

}  // namespace

void LaneOutput::event(json::object object, std::int64_t at_ns) const {
  const std::string text = json::to_text(object);
  const ByteView bytes = as_bytes(text);
  queue->push_always({events_stream, at_ns / 1000, true, false, ByteBuffer(bytes.begin(), bytes.end()), at_ns});
}

Lane::Lane(const AVStream& stream, const DeviceSpec& device, const CaptureOptions& options)
    : clock_(*options.clock),
      live_(device.is_live()),
      may_wait_(!device.is_live() && options.pace == Pace::none),
      input_base_(stream.time_base),
      input_index_(stream.index),
      suspended_seen_ns_(options.clock->suspended_ns()),
      decoded_(av_frame_alloc()),
      encoded_(av_packet_alloc()) {}

Result<std::unique_ptr<Lane>> Lane::open(const AVStream& stream, const DeviceSpec& device,
                                         const CaptureOptions& options) {
  std::unique_ptr<Lane> lane;
  if (stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO) {
    MC_TRY_ASSIGN(lane, PictureLane::open(stream, device, options));
  } else {
    MC_TRY_ASSIGN(lane, SoundLane::open(stream, device, options));
  }
  if (!lane->decoded_ || !lane->encoded_) return fail(av_error(AVERROR(ENOMEM), "cannot capture"));
  MC_TRY(lane->open_decoder(stream));
  return lane;
}

Status Lane::open_decoder(const AVStream& stream) {
  const AVCodec* codec = avcodec_find_decoder(stream.codecpar->codec_id);
  const std::string what = std::string("cannot decode '") + avcodec_get_name(stream.codecpar->codec_id) + "'";
  if (codec == nullptr) return fail(av_error(AVERROR_DECODER_NOT_FOUND, what));
  decoder_.reset(avcodec_alloc_context3(codec));
  if (!decoder_) return fail(av_error(AVERROR(ENOMEM), what));
  if (const int code = avcodec_parameters_to_context(decoder_.get(), stream.codecpar); code < 0)
    return fail(av_error(code, what));
  decoder_->pkt_timebase = stream.time_base;
  if (const int code = avcodec_open2(decoder_.get(), codec, nullptr); code < 0) return fail(av_error(code, what));
  return {};
}

void Lane::attach(const LaneOutput& output, std::uint32_t stream_index) {
  output_ = output;
  stream_index_ = stream_index;
  timescale_ = static_cast<std::uint32_t>(stream_.time_base.denominator);
  bound_standby(rescale(output.preroll_ns, kNanosecondsPerSecond, timescale_), output.preroll_bytes);
}

Status Lane::feed(const AVPacket* packet) {
  if (!recording_ && output_.timeline->is_armed()) {
    recording_ = true;
    MC_TRY(begin());
    output_.queue->backlog_is_in();
  }
  if (done_ && packet != nullptr) return {};
  int code = avcodec_send_packet(decoder_.get(), packet);
  // One damaged packet is not the end of a device; the decoder goes on with the next.
  if (code < 0 && code != AVERROR(EAGAIN) && code != AVERROR_INVALIDDATA && code != AVERROR_EOF) {
    return fail(av_error(code, "cannot decode"));
  }
  while ((code = avcodec_receive_frame(decoder_.get(), decoded_.get())) >= 0) {
    ++seen_;
    const Status taken = done_ ? Status{} : take(decoded_.get());
    av_frame_unref(decoded_.get());
    MC_TRY(taken);
  }
  if (packet != nullptr) return {};
  MC_TRY(take(nullptr));
  return encode(nullptr);
}

Status Lane::encode(const AVFrame* frame) {
  const std::int64_t began_ns = clock_.monotonic_ns();
  const int code = avcodec_send_frame(encoder_.get(), frame);
  encoding_ns_ += clock_.monotonic_ns() - began_ns;
  if (code < 0 && code != AVERROR_EOF) return fail(av_error(code, "cannot encode"));
  while (avcodec_receive_packet(encoder_.get(), encoded_.get()) >= 0) {
    send(encoded_.get());
    av_packet_unref(encoded_.get());
  }
  return {};
}

void Lane::send(const AVPacket* packet) {
  if (packet->size <= 0) return;  // side data at the end of a stream
  if (may_wait_) output_.queue->wait_for_room();
  deliver({stream_index_, ticks_of(packet->pts), (packet->flags & AV_PKT_FLAG_KEY) != 0,
           stream_.kind == StreamKind::picture, ByteBuffer(packet->data, packet->data + packet->size)});
}

void Lane::put(QueuedPacket packet) {
  ++frames_;
  packet.at_ns = rescale(packet.pts, timescale_, kNanosecondsPerSecond);
  last_ns_ = packet.at_ns;
  if (const auto loss = output_.queue->push(packet)) {
    tell_gap(kQueueOverflow, loss->from, packet.pts, loss->packets);
    output_.queue->push(packet);
  }
}

void Lane::tell_last_loss() {
  const PacketQueue::Loss loss = output_.queue->take_loss(stream_index_);
  if (loss.packets == 0) return;
  tell_gap(kQueueOverflow, loss.from, loss.last + std::max<std::int64_t>(stream_.nominal_ticks, 1), loss.packets);
}

bool Lane::was_suspended() {
  const std::int64_t now = clock_.suspended_ns();
  if (now < suspended_seen_ns_ + Timeline::kLeastSuspendNs) return false;
  suspended_seen_ns_ = now;
  return true;
}

void Lane::tell_gap(const char* reason, std::int64_t from, std::int64_t to, std::uint64_t packets) {
  // Counted as mc-mux counts: from t0, and sound behind its priming.
  const std::int64_t zero = t0_ticks() - static_cast<std::int64_t>(stream_.priming_samples.value_or(0));
  json::object event;
  event["event"] = "gap";
  event["track"] = stream_index_ + 1;
  event["reason"] = reason;
  event["from"] = from - zero;
  event["to"] = to - zero;
  event["timescale"] = timescale_;
  if (packets > 0) event["packets"] = packets;
  output_.event(std::move(event), rescale(to, timescale_, kNanosecondsPerSecond));
}

std::int64_t Lane::stamp_of(const AVFrame& frame) const {
  const std::int64_t pts = frame.best_effort_timestamp;
  if (!live_) return pts;
  return output_.timeline->monotonic_of_device_us(pts == AV_NOPTS_VALUE ? -1
                                                                        : av_rescale_q(pts, input_base_, kMicrosecond));
}

std::int64_t Lane::ticks_at(std::int64_t stamp) const {
  if (live_) return rescale(output_.timeline->from_monotonic(stamp), kNanosecondsPerSecond, timescale_);
  return standby_zero() + standby_ticks(stamp);
}

std::int64_t Lane::standby_ticks(std::int64_t stamp) const {
  if (live_) return rescale(stamp, kNanosecondsPerSecond, timescale_);
  const AVRational tick{1, static_cast<int>(timescale_)};
  return av_rescale_q(stamp, input_base_, tick) - av_rescale_q(origin_us_, kMicrosecond, tick);
}

std::int64_t Lane::standby_zero() const {
  const Timeline& timeline = *output_.timeline;
  if (live_) return rescale(timeline.from_monotonic(0), kNanosecondsPerSecond, timescale_);
  return timeline.source_zero_ticks(timescale_);
}

}  // namespace mc::media
