#include "media/track_framer.hpp"

#include <algorithm>

#include "base/units.hpp"
#include "media/parameters.hpp"

namespace mc::media {
namespace {

// ISO/IEC 14496-3 1.6.2.1: the rate of the AAC core, which with SBR is half of what comes out. 0: unknown.
std::uint32_t aac_core_rate(ByteView config) {
  static constexpr std::uint32_t kRates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                             22050, 16000, 12000, 11025, 8000,  7350};
  if (config.size() < 2) return 0;
  const unsigned index = (config[0] & 7U) << 1 | config[1] >> 7;
  return index < std::size(kRates) ? kRates[index] : 0;
}

}  // namespace

TrackFramer::TrackFramer(Stream stream) : stream_(std::move(stream)) {
  timescale_ = static_cast<std::uint32_t>(stream_.time_base.denominator);
  nominal_ticks_ = stream_.nominal_ticks * stream_.time_base.numerator;
  strip_adts_ = parameters().codec == mp4::Codec::aac && parameters().extradata.empty();
  if (stream_.priming_samples || parameters().codec != mp4::Codec::opus || parameters().extradata.size() < 12) return;
  // RFC 7845 5.1: pre-skip, little endian, behind "OpusHead", version and channel count.
  const ByteBuffer& head = parameters().extradata;
  if (as_text(head).substr(0, 8) == "OpusHead") stream_.priming_samples = head[10] | std::uint32_t{head[11]} << 8;
}

std::int64_t TrackFramer::guessed_ticks() const {
  if (nominal_ticks_ > 0) return nominal_ticks_;
  if (stream_.guessed_ticks > 0) return stream_.guessed_ticks * stream_.time_base.numerator;
  return std::max<std::int64_t>(timescale_ / 25, 1);
}

std::uint32_t TrackFramer::sound_rate() const {
  if (parameters().codec == mp4::Codec::opus) return 48000;
  const std::uint32_t core = parameters().codec == mp4::Codec::aac ? aac_core_rate(parameters().extradata) : 0;
  return core > 0 ? core : parameters().sample_rate;
}

std::int64_t TrackFramer::priming_ticks() const {
  if (is_picture() || !stream_.priming_samples) return 0;
  const std::uint32_t rate = parameters().codec == mp4::Codec::opus ? 48000 : parameters().sample_rate;
  return rate == 0 ? 0 : rescale(*stream_.priming_samples, rate, timescale_);
}

Result<std::int64_t> TrackFramer::time_of(const Packet& packet, std::optional<std::int64_t> arrival_ticks) {
  if (arrival_ticks) return *arrival_ticks;
  if (packet.pts) {
    constexpr std::int64_t kLimit = std::int64_t{1} << 61;
    const std::int64_t numerator = stream_.time_base.numerator;
    if (*packet.pts > kLimit / numerator || *packet.pts < -kLimit / numerator) {
      return fail(ErrorKind::damaged, "a time stamp out of range");
    }
    return *packet.pts * numerator;
  }
  if (next_pts_) return *next_pts_;
  return fail(
      Error{ErrorKind::damaged, "packets without time stamps", 0, "--timestamps=arrival takes the time of arrival"});
}

Result<std::optional<Frame>> TrackFramer::take(const Packet& packet, std::optional<std::int64_t> arrival_ticks,
                                               const Log& log) {
  MC_TRY_ASSIGN(const std::int64_t pts, time_of(packet, arrival_ticks));
  auto frame = is_picture() ? take_picture(packet, pts, log) : take_sound(packet, pts, log);
  if (frame && *frame) {
    if (dropping_) {
      dropping_->to = pts;
      dropped_ = std::exchange(dropping_, std::nullopt);
    }
    next_pts_ = pts + guessed_ticks();
  }
  return frame;
}

Result<std::optional<Frame>> TrackFramer::take_picture(const Packet& packet, std::int64_t pts, const Log& log) {
  const mp4::Codec codec = parameters().codec;
  const bool has_nals = codec == mp4::Codec::h264 || codec == mp4::Codec::hevc;
  Frame frame;
  frame.pts = pts;
  std::optional<ByteBuffer> entry;
  if (has_nals) {
    if (!nals_) {
      if (parameters().width == 0) complete_parameters(stream_, packet.data);
      if (parameters().width == 0) {
        drop(pts, "before-key-frame");
        return std::optional<Frame>{};
      }
      nals_.emplace(parameters());
    }
    auto normalised = nals_->normalise(packet.data);
    if (!normalised) {
      const bool early = normalised.error().kind == ErrorKind::unavailable;
      if (!early) log(LogLevel::warning, "a picture is left out: " + normalised.error().message);
      drop(pts, early ? "before-key-frame" : "damaged");
      return std::optional<Frame>{};
    }
    frame.data = std::move(normalised->data);
    frame.key = normalised->key;
    entry = std::move(normalised->sample_entry);
  } else {
    frame.key = mp4::is_key_frame(codec, packet.data);
    frame.data = codec == mp4::Codec::av1 ? mp4::without_temporal_delimiters(packet.data)
                                          : ByteBuffer(packet.data.begin(), packet.data.end());
  }
  if (frame.data.empty() || (!seen_key_ && !frame.key)) {
    drop(pts, "before-key-frame");
    return std::optional<Frame>{};
  }
  if (!seen_packet_) complete_parameters(stream_, packet.data);
  if (!entry && (descriptions_.empty() || (!has_nals && frame.key))) {
    auto made = mp4::make_sample_entry(parameters(), packet.data);
    if (made) {
      entry = std::move(*made);
    } else if (descriptions_.empty()) {
      log(LogLevel::warning, "a picture is left out: " + made.error().message);
      drop(pts, "before-key-frame");
      return std::optional<Frame>{};
    }
  }
  seen_packet_ = true;
  seen_key_ = true;
  if (entry) frame.description_changed = describe(std::move(*entry));
  frame.description = description_;
  return std::optional<Frame>{std::move(frame)};
}

Result<std::optional<Frame>> TrackFramer::take_sound(const Packet& packet, std::int64_t pts, const Log& log) {
  if (!seen_packet_) {
    complete_parameters(stream_, packet.data);
    if (nominal_ticks_ == 0) {
      const std::uint32_t samples = mp4::packet_samples(parameters().codec, parameters().extradata, packet.data);
      // With SBR declared, AAC's samples are counted at the doubled rate.
      const std::uint32_t rate =
          parameters().codec == mp4::Codec::aac && samples > 1024 ? 2 * sound_rate() : sound_rate();
      if (rate > 0) nominal_ticks_ = rescale(samples, rate, timescale_);
    }
    seen_packet_ = true;
  }
  // libavformat puts out an empty packet with side data at the end of some streams.
  if (packet.data.empty()) return std::optional<Frame>{};
  const ByteView data = strip_adts_ ? mp4::without_adts(packet.data) : packet.data;
  Frame frame;
  frame.pts = pts;
  frame.key = true;
  if (descriptions_.empty()) {
    auto entry = mp4::make_sample_entry(parameters(), packet.data);
    if (!entry) {
      // No reason to lose the picture as well.
      if (!std::exchange(warned_, true)) log(LogLevel::warning, "sound is left out: " + entry.error().message);
      drop(pts, "damaged");
      return std::optional<Frame>{};
    }
    describe(std::move(*entry));
  }
  if (data.empty()) {
    drop(pts, "damaged");
    return std::optional<Frame>{};
  }
  frame.data.assign(data.begin(), data.end());
  return std::optional<Frame>{std::move(frame)};
}

bool TrackFramer::describe(ByteBuffer entry) {
  const auto known = std::find(descriptions_.begin(), descriptions_.end(), entry);
  description_ = static_cast<std::uint32_t>(known - descriptions_.begin()) + 1;
  if (known != descriptions_.end()) return false;
  descriptions_.push_back(std::move(entry));
  return true;
}

bool TrackFramer::describe_without_packet() {
  if (is_described()) return true;
  auto entry = mp4::make_sample_entry(parameters(), {});
  if (!entry) return false;
  descriptions_.push_back(std::move(*entry));
  return true;
}

void TrackFramer::drop(std::int64_t pts, const char* reason) {
  if (!dropping_) dropping_ = Dropped{reason, pts, pts};
  dropping_->from = std::min(dropping_->from, pts);
}

std::optional<Dropped> TrackFramer::take_dropped() { return std::exchange(dropped_, std::nullopt); }

}  // namespace mc::media
