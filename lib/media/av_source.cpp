#include "media/av_source.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <limits>

#include "base/units.hpp"
#include "media/av_codec.hpp"
#include "media/av_error.hpp"
#include "media/av_ptr.hpp"
#include "media/parameters.hpp"

extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/intreadwrite.h>
}

namespace mc::media {
namespace {

constexpr int kIoBytes = 256 << 10;
constexpr std::int64_t kProbeBytes = 64 << 10;
// How far to look for streams in containers that do not list them at their beginning.
constexpr std::size_t kLookAheadPackets = 32;

template <class T>
T narrow(int value) {
  return static_cast<T>(std::clamp<std::int64_t>(value, 0, std::numeric_limits<T>::max()));
}

bool format_is(const AVInputFormat* format, std::string_view name) {
  // The names of a demuxer are a list: "matroska,webm".
  const std::string names = std::string(",") + format->name + ",";
  return names.find("," + std::string(name) + ",") != std::string::npos;
}

class AvSource : public Source {
 public:
  explicit AvSource(ByteInput& input) : input_(input) {}
  AvSource(const AvSource&) = delete;
  AvSource& operator=(const AvSource&) = delete;
  ~AvSource() override {
    avformat_close_input(&format_);
    if (io_ != nullptr) av_freep(&io_->buffer);
    avio_context_free(&io_);
  }

  Status open(const SourceOptions& options);
  const std::vector<Stream>& streams() const override { return streams_; }
  const Tags& tags() const override { return tags_; }
  Result<std::optional<Packet>> next() override;
  SourceEnd end() const override { return end_; }

 private:
  struct State {
    std::int64_t last_pts = std::numeric_limits<std::int64_t>::min();  // unwrapped
    std::uint64_t samples_since = 0;  // sound: since last_pts, for packets without a pts
    bool seen = false;
  };

  static int read_callback(void* self, std::uint8_t* into, int bytes);
  static std::int64_t seek_callback(void* self, std::int64_t offset, int whence);
  Result<PacketPtr> read_packet();  // null at the end
  void add_streams();
  Stream describe(const AVStream& from) const;
  std::optional<std::int64_t> time_of(const AVPacket& packet);

  ByteInput& input_;
  AVFormatContext* format_ = nullptr;
  AVIOContext* io_ = nullptr;
  std::optional<Error> failed_;  // of the input; libavformat only hands on a number
  bool hit_end_ = false;         // a read of libavformat met the end of the input
  bool cuts_last_ = false;       // a container in which that means: the packet just given is not whole
  std::deque<PacketPtr> ahead_;
  PacketPtr current_;
  std::vector<Stream> streams_;
  std::vector<State> states_;
  Tags tags_;
  SourceEnd end_;
};

int AvSource::read_callback(void* self, std::uint8_t* into, int bytes) {
  auto& source = *static_cast<AvSource*>(self);
  const auto n = source.input_.read(std::span(into, static_cast<std::size_t>(bytes)));
  if (!n) {
    source.failed_ = n.error();
    return AVERROR_EXIT;
  }
  if (*n == 0) {
    source.hit_end_ = true;
    return AVERROR_EOF;
  }
  return static_cast<int>(*n);
}

std::int64_t AvSource::seek_callback(void* self, std::int64_t offset, int whence) {
  auto& source = *static_cast<AvSource*>(self);
  const auto position =
      (whence & AVSEEK_SIZE) != 0 ? source.input_.size() : source.input_.seek(offset, whence & ~AVSEEK_FORCE);
  return position ? *position : AVERROR(EIO);
}

Status AvSource::open(const SourceOptions& options) {
  const AVInputFormat* forced = nullptr;
  if (!options.format.empty()) {
    forced = av_find_input_format(options.format.c_str());
    if (forced == nullptr) return fail(ErrorKind::usage, "no such input format: '" + options.format + "'");
  }
  format_ = avformat_alloc_context();
  auto* buffer = static_cast<unsigned char*>(av_malloc(kIoBytes));
  if (buffer != nullptr) {
    io_ = avio_alloc_context(buffer, kIoBytes, 0, this, read_callback, nullptr,
                             input_.seekable() ? seek_callback : nullptr);
  }
  if (format_ == nullptr || io_ == nullptr) return fail(av_error(AVERROR(ENOMEM), "cannot read " + input_.what()));
  format_->pb = io_;
  format_->probesize = kProbeBytes;
  format_->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_NOFILLIN;
  // We unwrap ourselves: libavformat does it only once.
  format_->correct_ts_overflow = 0;
  if (const int code = avformat_open_input(&format_, nullptr, forced, nullptr); code < 0) {
    if (failed_) return fail(*failed_);
    Error error = av_error(code, "cannot read " + input_.what() + " as media");
    error.kind = ErrorKind::damaged;
    return fail(std::move(error));
  }
  // These read a packet by its length, so meeting the end inside one means that it is cut. The others know that a
  // packet is over only when the next one begins or the input ends.
  for (const char* name : {"matroska", "mov", "flv", "avi", "wav"})
    cuts_last_ = cuts_last_ || format_is(format_->iformat, name);
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(format_->metadata, "", entry, AV_DICT_IGNORE_SUFFIX)) != nullptr)
    tags_[entry->key] = entry->value;
  if ((format_->ctx_flags & AVFMTCTX_NOHEADER) != 0) {
    bool seen_picture = false, seen_sound = false;
    while (ahead_.size() < kLookAheadPackets && !(seen_picture && seen_sound)) {
      MC_TRY_ASSIGN(PacketPtr packet, read_packet());
      if (!packet) break;
      const auto type = format_->streams[packet->stream_index]->codecpar->codec_type;
      seen_picture = seen_picture || type == AVMEDIA_TYPE_VIDEO;
      seen_sound = seen_sound || type == AVMEDIA_TYPE_AUDIO;
      ahead_.push_back(std::move(packet));
    }
  }
  add_streams();
  return {};
}

void AvSource::add_streams() {
  for (std::size_t i = streams_.size(); i < format_->nb_streams; ++i) {
    streams_.push_back(describe(*format_->streams[i]));
    states_.emplace_back();
  }
}

Stream AvSource::describe(const AVStream& from) const {
  const AVCodecParameters& codec = *from.codecpar;
  Stream stream;
  stream.codec_name = avcodec_get_name(codec.codec_id);
  stream.time_base = {std::max(from.time_base.num, 1), std::max(from.time_base.den, 1)};
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(from.metadata, "", entry, AV_DICT_IGNORE_SUFFIX)) != nullptr)
    stream.tags[entry->key] = entry->value;
  const auto known = codec_of(codec.codec_id);
  if (!known || (from.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) return stream;
  stream.kind = codec.codec_type == AVMEDIA_TYPE_VIDEO ? StreamKind::picture : StreamKind::sound;
  mp4::CodecParameters& parameters = stream.parameters.emplace();
  parameters.codec = *known;
  if (codec.extradata_size > 0) parameters.extradata.assign(codec.extradata, codec.extradata + codec.extradata_size);
  parameters.width = narrow<std::uint16_t>(codec.width);
  parameters.height = narrow<std::uint16_t>(codec.height);
  const AVRational aspect = from.sample_aspect_ratio.num > 0 ? from.sample_aspect_ratio : codec.sample_aspect_ratio;
  if (aspect.num > 0 && aspect.den > 0) {
    parameters.sar_numerator = static_cast<std::uint32_t>(aspect.num);
    parameters.sar_denominator = static_cast<std::uint32_t>(aspect.den);
  }
  parameters.sample_rate = narrow<std::uint32_t>(codec.sample_rate);
  parameters.channels = narrow<std::uint16_t>(codec.ch_layout.nb_channels);
  if (codec.initial_padding > 0) stream.priming_samples = static_cast<std::uint32_t>(codec.initial_padding);
  if (stream.kind != StreamKind::picture) return stream;
  stream.decode_delay = static_cast<std::uint32_t>(std::max(codec.video_delay, 0));
  stream.decode_delay_known = *known != mp4::Codec::h264 && *known != mp4::Codec::hevc;
  if (from.avg_frame_rate.num > 0 && from.avg_frame_rate.den > 0) {
    const std::int64_t ticks = av_rescale_q(1, av_inv_q(from.avg_frame_rate), from.time_base);
    // Elsewhere the rate is a guess or a remark of the writer's, not a promise.
    const bool declared = format_is(format_->iformat, "matroska") || format_is(format_->iformat, "mov");
    (declared ? stream.nominal_ticks : stream.guessed_ticks) = ticks;
  }
  return stream;
}

Result<PacketPtr> AvSource::read_packet() {
  PacketPtr packet(av_packet_alloc());
  if (!packet) return fail(av_error(AVERROR(ENOMEM), "cannot read " + input_.what()));
  for (;;) {
    const int code = av_read_frame(format_, packet.get());
    if (failed_) return fail(*failed_);
    if (code == AVERROR(EAGAIN)) continue;
    if (code < 0 && (code == AVERROR_EOF || hit_end_)) return PacketPtr{};
    if (code < 0) {
      Error error = av_error(code, "cannot read " + input_.what());
      error.kind = ErrorKind::damaged;  // also "out of memory", by a length that is none
      return fail(std::move(error));
    }
    const bool cut = hit_end_ && cuts_last_ && !input_.seekable();
    if (cut || (packet->flags & AV_PKT_FLAG_CORRUPT) != 0) {
      (hit_end_ ? end_.torn_bytes : end_.damaged_bytes) += static_cast<std::uint64_t>(packet->size);
      av_packet_unref(packet.get());
      continue;
    }
    return packet;
  }
}

Result<std::optional<Packet>> AvSource::next() {
  for (;;) {
    if (!ahead_.empty()) {
      current_ = std::move(ahead_.front());
      ahead_.pop_front();
    } else {
      MC_TRY_ASSIGN(current_, read_packet());
    }
    if (!current_) return std::optional<Packet>{};
    const auto index = static_cast<std::size_t>(current_->stream_index);
    if (index >= streams_.size()) continue;  // a stream that came later than anybody looked
    Stream& stream = streams_[index];
    State& state = states_[index];
    if (!std::exchange(state.seen, true) && stream.kind == StreamKind::sound) {
      std::size_t bytes = 0;
      const std::uint8_t* skip = av_packet_get_side_data(current_.get(), AV_PKT_DATA_SKIP_SAMPLES, &bytes);
      if (skip != nullptr && bytes >= 4 && AV_RL32(skip) > 0) stream.priming_samples = AV_RL32(skip);
    }
    const ByteView data(current_->data, static_cast<std::size_t>(std::max(current_->size, 0)));
    if (data.empty()) continue;
    return Packet{static_cast<std::uint32_t>(index), time_of(*current_), (current_->flags & AV_PKT_FLAG_KEY) != 0,
                  data};
  }
}

std::optional<std::int64_t> AvSource::time_of(const AVPacket& packet) {
  const auto index = static_cast<std::size_t>(packet.stream_index);
  const Stream& stream = streams_[index];
  State& state = states_[index];
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::min();
  const ByteView data(packet.data, static_cast<std::size_t>(packet.size));
  if (stream.kind == StreamKind::sound && stream.parameters->sample_rate == 0)
    complete_parameters(streams_[index], data);
  std::optional<std::int64_t> pts;
  if (packet.pts != AV_NOPTS_VALUE) pts = packet.pts;
  // Sound alone without any container counts from its beginning.
  if (!pts && stream.kind == StreamKind::sound && state.last_pts == kNone && streams_.size() == 1) pts = 0;
  if (pts) {
    const int wrap = format_->streams[index]->pts_wrap_bits;
    if (wrap > 0 && wrap < 60 && state.last_pts != kNone) {
      // The value nearest to the last one that has these low bits.
      const std::int64_t cycle = std::int64_t{1} << wrap;
      const std::int64_t turns = (state.last_pts - *pts + cycle / 2) >> wrap;
      *pts += turns * cycle;
    }
    state.last_pts = *pts;
    state.samples_since = 0;
  } else if (stream.kind == StreamKind::sound && state.last_pts != kNone && stream.parameters->sample_rate > 0) {
    // Several frames under one time stamp: they follow each other without a hole.
    const auto per_tick = static_cast<std::uint64_t>(stream.parameters->sample_rate) *
                          static_cast<std::uint64_t>(stream.time_base.numerator);
    pts = state.last_pts + rescale(static_cast<std::int64_t>(state.samples_since), per_tick,
                                   static_cast<std::uint64_t>(stream.time_base.denominator));
  }
  if (stream.kind == StreamKind::sound && pts) {
    state.samples_since += mp4::packet_samples(stream.parameters->codec, stream.parameters->extradata, data);
  }
  return pts;
}

}  // namespace

Result<std::unique_ptr<Source>> open_av_source(ByteInput& input, const SourceOptions& options) {
  route_av_log(options.log);
  auto source = std::make_unique<AvSource>(input);
  MC_TRY(source->open(options));
  return std::unique_ptr<Source>(std::move(source));
}

}  // namespace mc::media
