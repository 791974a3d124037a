#include "media/fragmenter.hpp"

#include <algorithm>
#include <limits>

#include "base/units.hpp"

namespace mc::media {
namespace {

constexpr std::int64_t kMax32 = std::numeric_limits<std::int32_t>::max();

std::optional<std::int64_t> number(const Tags& tags, const char* name) {
  const auto found = tags.find(name);
  if (found == tags.end() || found->second.empty() || found->second.size() > 15) return std::nullopt;
  if (found->second.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::stoll(found->second);
}

// How far in front of its audible beginning a decoder has to start (14496-12 10.1): AAC one packet (14496-3), Opus 80
// ms (RFC 7845 4).
std::int16_t roll_distance(const TrackFramer& framer) {
  if (framer.parameters().codec == mp4::Codec::aac) return -1;
  const std::int64_t packet = std::max<std::int64_t>(framer.nominal_ticks(), 1);
  const std::int64_t packets = (framer.timescale() * std::int64_t{80} / 1000 + packet - 1) / packet;
  return static_cast<std::int16_t>(-std::min<std::int64_t>(packets, 64));
}

bool earlier(std::int64_t a, std::int64_t a_scale, std::int64_t b, std::int64_t b_scale) {
  __extension__ typedef __int128 Int128;
  return Int128{a} * b_scale < Int128{b} * a_scale;
}

}  // namespace

Fragmenter::Fragmenter(const Source& source, GatherWriter& out, FragmenterOptions options)
    : source_(source), out_(out), options_(std::move(options)) {
  for (const Stream& stream : source.streams()) {
    track_of_stream_.push_back(-1);
    if (stream.kind == StreamKind::events) continue;
    if (!stream.parameters) {
      options_.log(LogLevel::warning, "stream " + std::to_string(track_of_stream_.size() - 1) + " (" +
                                          (stream.codec_name.empty() ? "unknown" : stream.codec_name) +
                                          ") is left out");
      continue;
    }
    Stream used = stream;
    if (options_.time_stamps == TimeStamps::arrival) {
      used.time_base = {1, 90000};
      used.decode_delay = 0;
      used.nominal_ticks = used.guessed_ticks = 0;
    }
    track_of_stream_.back() = static_cast<int>(tracks_.size());
    const auto id = static_cast<std::uint32_t>(tracks_.size() + 1);
    tracks_.push_back(std::make_unique<TrackState>(id, std::move(used)));
  }
  if (options_.t0_wall_ns) {
    t0_tagged_ = true;
    t0_wall_ns_ = *options_.t0_wall_ns;
  } else if (const auto tag = source.tags().find("maycast-t0"); tag != source.tags().end()) {
    if (const auto t0 = parse_utc(tag->second)) {
      t0_tagged_ = true;
      t0_wall_ns_ = *t0;
    } else {
      options_.log(LogLevel::warning, "the tag maycast-t0 is not a time: '" + tag->second + "'");
    }
  }
}

Status Fragmenter::add(const Packet& packet) {
  if (packet.stream >= track_of_stream_.size()) return {};
  if (!first_monotonic_ns_) {
    first_monotonic_ns_ = options_.clock->monotonic_ns();
    first_wall_ns_ = options_.clock->wall_ns();
  }
  const Stream& stream = source_.streams()[packet.stream];
  if (stream.kind == StreamKind::events) return take_event(stream, packet);
  const int index = track_of_stream_[packet.stream];
  if (index < 0) return {};
  TrackState& track = *tracks_[static_cast<std::size_t>(index)];
  if (started_ && !track.in_movie) return {};
  std::optional<std::int64_t> arrival;
  if (options_.time_stamps == TimeStamps::arrival) {
    // The wall clock may step; the monotonic one carries it on from the first packet.
    const std::int64_t now = first_wall_ns_ + options_.clock->monotonic_ns() - *first_monotonic_ns_;
    arrival = rescale(now, kNanosecondsPerSecond, track.framer.timescale());
  }
  MC_TRY_ASSIGN(auto frame, track.framer.take(packet, arrival, options_.log));
  if (!frame) return {};
  track.shown = true;
  HeldFrame held{static_cast<std::size_t>(index), std::move(*frame), track.framer.take_dropped()};
  if (started_) {
    MC_TRY(emit(std::move(held)));
    return out_.is_full() ? out_.flush() : Status{};
  }
  held_bytes_ += held.frame.data.size();
  held_.emplace_back(std::move(held));
  return start_if_ready(Input::flows);
}

Status Fragmenter::take_event(const Stream& stream, const Packet& packet) {
  auto event = json::parse_object(as_text(packet.data));
  if (!event) {
    options_.log(LogLevel::warning, "an event is left out: " + event.error().message);
    return {};
  }
  const bool is_start = json::get_string(*event, "event") == "start";
  if (is_start && !started_) {
    start_event_ = std::move(*event);
    return {};
  }
  HeldEvent held{stream.time_base, packet.pts.value_or(0), std::move(*event)};
  if (started_) {
    emit_event(held);
  } else {
    held_.emplace_back(std::move(held));
  }
  return {};
}

Result<int> Fragmenter::before_read(bool nothing_came) {
  MC_TRY(start_if_ready(nothing_came ? Input::starves : Input::flows));
  MC_TRY(out_.flush());
  if (started_ || !first_monotonic_ns_ || held_.empty()) return -1;
  const std::int64_t held = held_for_ns();
  if (held >= kHoldNs && all_described()) return 1;  // only to see whether there is something to read
  const std::int64_t until = held < kHoldNs ? kHoldNs : kParametersNs;
  return static_cast<int>(std::max<std::int64_t>(until - held, 0) / 1'000'000 + 1);
}

std::int64_t Fragmenter::held_for_ns() const {
  return first_monotonic_ns_ ? options_.clock->monotonic_ns() - *first_monotonic_ns_ : 0;
}

bool Fragmenter::all_described() const {
  return std::ranges::all_of(tracks_, [](const auto& track) { return track->framer.describe_without_packet(); });
}

bool Fragmenter::ready_to_start(Input input) const {
  const bool described = all_described();
  if (input == Input::ended || held_for_ns() >= kParametersNs || held_bytes_ >= kHoldBytes) {
    return std::ranges::any_of(tracks_, [](const auto& track) { return track->framer.is_described(); });
  }
  if (!described) return false;
  const bool all_shown = std::ranges::all_of(tracks_, [](const auto& track) { return track->shown; });
  return t0_tagged_ || options_.time_stamps == TimeStamps::arrival || all_shown ||
         (input == Input::starves && held_for_ns() >= kHoldNs);
}

Status Fragmenter::start_if_ready(Input input) {
  const auto is_frame = [](const Held& held) { return std::holds_alternative<HeldFrame>(held); };
  if (started_ || std::none_of(held_.begin(), held_.end(), is_frame) || !ready_to_start(input)) return {};
  return start();
}

void Fragmenter::choose_t0() {
  if (t0_tagged_) {
    t0_ticks_ = t0_wall_ns_;
    t0_timescale_ = static_cast<std::int64_t>(kNanosecondsPerSecond);
    return;
  }
  t0_wall_ns_ = first_wall_ns_;
  bool any = false;
  for (const Held& held : held_) {
    const auto* frame = std::get_if<HeldFrame>(&held);
    if (frame == nullptr) continue;
    const TrackFramer& framer = tracks_[frame->track]->framer;
    // Pictures are decoded before they are shown: counting from the first decode time needs no negative offsets, which
    // libavformat's reader of fragments gets wrong by a constant.
    const std::int64_t lead = framer.is_picture() ? framer.decode_delay() * framer.guessed_ticks() : 0;
    const std::int64_t begin = frame->frame.pts + framer.priming_ticks() - lead;
    if (any && !earlier(begin, framer.timescale(), t0_ticks_, t0_timescale_)) continue;
    any = true;
    t0_ticks_ = begin;
    t0_timescale_ = framer.timescale();
    t0_wall_ns_ = first_wall_ns_ - rescale(lead, framer.timescale(), kNanosecondsPerSecond);
  }
}

Status Fragmenter::start() {
  choose_t0();
  started_ = true;
  for (const auto& track : tracks_) {
    const TrackFramer& framer = track->framer;
    if (!framer.is_described()) {
      options_.log(LogLevel::warning,
                   "a stream (" + framer.stream().codec_name + ") is left out: its parameters are not known");
      continue;
    }
    track->in_movie = true;
    track->priming = framer.priming_ticks();
    track->origin = rescale(t0_ticks_, static_cast<std::uint64_t>(t0_timescale_), framer.timescale());
    mp4::Track entry;
    entry.id = track->id;
    entry.kind = framer.is_picture() ? mp4::TrackKind::video : mp4::TrackKind::audio;
    entry.timescale = framer.timescale();
    entry.nominal_duration = static_cast<std::uint32_t>(std::clamp<std::int64_t>(framer.nominal_ticks(), 0, kMax32));
    entry.media_time = track->priming;
    entry.width = framer.parameters().width;
    entry.height = framer.parameters().height;
    entry.sample_rate = framer.parameters().sample_rate;
    entry.channels = framer.parameters().channels;
    if (track->priming > 0) entry.roll_distance = roll_distance(framer);
    entry.descriptions = framer.descriptions();
    movie_.tracks.push_back(std::move(entry));
  }
  // Frames that were held already know their descriptions; a change among them is written again in its place,
  // harmlessly.
  write_init();
  cut_rule_.emplace(movie_);
  write_start_event();
  while (!held_.empty()) {
    Held held = std::move(held_.front());
    held_.pop_front();
    if (auto* frame = std::get_if<HeldFrame>(&held)) {
      MC_TRY(emit(std::move(*frame)));
    } else {
      emit_event(std::get<HeldEvent>(held));
    }
  }
  held_bytes_ = 0;
  return {};
}

void Fragmenter::write_init() { mp4::write_init(movie_, out_.tail()); }

void Fragmenter::write_start_event() {
  json::object event;
  event["event"] = "start";
  event["t0"] = format_utc(t0_wall_ns_);
  if (const auto bound = number(source_.tags(), "maycast-bound-us")) event["bound-us"] = *bound;
  if (const auto id = source_.tags().find("maycast-recording"); id != source_.tags().end())
    event["recording"] = id->second;
  for (auto& [key, value] : start_event_) {
    if (!event.contains(key)) event[key] = value;
  }
  write_event(std::move(event), 0, 1000);
}

bool Fragmenter::has_event_stream() const {
  return std::ranges::any_of(source_.streams(), [](const Stream& stream) { return stream.kind == StreamKind::events; });
}

void Fragmenter::write_end_event() {
  std::uint64_t end_ms = 0;
  for (const auto& track : tracks_) {
    if (!track->last_decode) continue;
    const std::int64_t end = rescale(*track->last_decode, track->framer.timescale(), 1000);
    end_ms = std::max(end_ms, static_cast<std::uint64_t>(std::max<std::int64_t>(end, 0)));
  }
  write_event({{"event", "end"}}, end_ms, 1000);
}

void Fragmenter::write_event(json::object event, std::uint64_t time, std::uint32_t timescale) {
  mp4::Event box;
  box.timescale = timescale;
  box.time = time;
  box.id = ++event_id_;
  box.json = json::to_text(event);
  mp4::write_emsg(box, out_.tail());
}

void Fragmenter::emit_event(const HeldEvent& held) {
  const auto timescale = static_cast<std::uint64_t>(held.time_base.denominator);
  const std::int64_t origin = rescale(t0_ticks_, static_cast<std::uint64_t>(t0_timescale_), timescale);
  const std::int64_t time = held.pts * held.time_base.numerator - origin;
  write_event(held.event, static_cast<std::uint64_t>(std::max<std::int64_t>(time, 0)),
              static_cast<std::uint32_t>(timescale));
}

void Fragmenter::emit_gap(const TrackState& track, const Dropped& dropped) {
  // What lies before t0 is not on the timeline and needs no ledger.
  const std::int64_t zero = track.origin - track.priming - track.moved;
  const std::int64_t from = std::max<std::int64_t>(dropped.from - zero, 0);
  const std::int64_t to = dropped.to - zero;
  if (to <= from) return;
  json::object event;
  event["event"] = "gap";
  event["track"] = track.id;
  event["reason"] = dropped.reason;
  event["from"] = from;
  event["to"] = to;
  event["timescale"] = track.framer.timescale();
  write_event(std::move(event), static_cast<std::uint64_t>(to), track.framer.timescale());
}

Status Fragmenter::emit(HeldFrame held) {
  TrackState& track = *tracks_[held.track];
  if (!track.in_movie) return {};
  if (held.frame.description_changed) {
    for (mp4::Track& entry : movie_.tracks) {
      if (entry.id != track.id || entry.descriptions.size() >= held.frame.description) continue;
      entry.descriptions = track.framer.descriptions();
      write_init();
    }
  }
  if (held.dropped) emit_gap(track, *held.dropped);
  follow_clock(track, held.frame);
  return emit_frame(track, std::move(held.frame));
}

void Fragmenter::follow_clock(TrackState& track, Frame& frame) {
  const std::uint32_t timescale = track.framer.timescale();
  const std::int64_t interval = std::max<std::int64_t>(track.framer.guessed_ticks(), 1);
  std::int64_t tolerated = rescale(kSetBackNs, kNanosecondsPerSecond, timescale);
  if (track.framer.is_picture()) tolerated = std::max(tolerated, interval * (DecodeTimes::kMaxDelay + 1));
  const auto is_set_back = [&] { return track.latest && frame.pts + track.moved < *track.latest - tolerated; };
  // Another track may have seen it before.
  if (is_set_back()) track.moved = rescale(moved_ns_, kNanosecondsPerSecond, timescale);
  if (is_set_back()) {
    const std::int64_t by = *track.latest + interval - (frame.pts + track.moved);
    track.moved += by;
    moved_ns_ = rescale(track.moved, timescale, kNanosecondsPerSecond);
    const std::int64_t by_us = rescale(by, timescale, 1'000'000);
    options_.log(LogLevel::warning, "the source's clock was set back by " + std::to_string(by_us / 1000) +
                                        " ms; its frames go on behind the last one");
    const std::int64_t at = *track.latest - track.origin + track.priming;
    write_event({{"event", "clock"}, {"set-back-us", by_us}}, static_cast<std::uint64_t>(std::max<std::int64_t>(at, 0)),
                timescale);
  }
  frame.pts += track.moved;
  track.latest = std::max(track.latest.value_or(frame.pts), frame.pts);
}

Status Fragmenter::emit_frame(TrackState& track, Frame frame) {
  const std::int64_t time = frame.pts - track.origin + track.priming;
  // The first picture is a key frame at or past t0.
  const bool too_early = track.framer.is_picture() && !track.last_decode && !frame.key;
  if (time < 0 || too_early) {
    if (!track.early) track.early = Dropped{"before-key-frame", frame.pts, frame.pts};
    return {};
  }
  if (track.early && !track.last_decode) {
    track.early->to = frame.pts;
    emit_gap(track, *track.early);
  }
  std::int64_t decode = time;
  if (track.framer.is_picture()) {
    if (!track.decode_times) {
      track.decode_times.emplace(track.framer.decode_delay(), track.framer.guessed_ticks());
      decode = track.decode_times->next(time);
      track.shift = std::max<std::int64_t>(-decode, 0);
    } else {
      decode = track.decode_times->next(time);
    }
    decode += track.shift;
  }
  if (track.last_decode) {
    decode = std::max(decode, *track.last_decode + 1);
    track.last_difference = decode - *track.last_decode;
  }
  track.last_decode = decode;
  const std::int64_t offset = time - decode;
  if (offset > kMax32 || offset < -kMax32) {
    return fail(ErrorKind::damaged, "time stamps jump backwards in track " + std::to_string(track.id));
  }
  std::int64_t duration = track.framer.nominal_ticks();
  if (duration <= 0) duration = track.last_difference > 0 ? track.last_difference : 1;

  mp4::Sample sample;
  sample.track_id = track.id;
  sample.description = frame.description;
  sample.decode_time = static_cast<std::uint64_t>(decode);
  sample.duration = static_cast<std::uint32_t>(std::min(duration, kMax32));
  sample.composition_offset = static_cast<std::int32_t>(offset);
  sample.size_bytes = static_cast<std::uint32_t>(frame.data.size());
  sample.sync = frame.key;
  if (cut_rule_->starts_chunk(sample)) {
    mp4::write_styp(out_.tail());
    const std::uint32_t timescale = track.framer.timescale();
    mp4::write_prft({track.id, sample.decode_time, wall_ns_at(sample.decode_time, timescale)}, out_.tail());
  }
  MC_TRY(mp4::write_fragment_header(++sequence_number_, std::span(&sample, 1), out_.tail()));
  constexpr std::size_t kSmall = 4096;
  if (frame.data.size() <= kSmall) {
    append(out_.tail(), frame.data);
  } else {
    out_.add(std::move(frame.data));
  }
  return {};
}

std::int64_t Fragmenter::wall_ns_at(std::uint64_t time, std::uint32_t timescale) const {
  return t0_wall_ns_ + rescale(static_cast<std::int64_t>(time), timescale, kNanosecondsPerSecond);
}

Status Fragmenter::finish(InputEnd how) {
  MC_TRY(start_if_ready(Input::ended));
  if (!started_) {
    if (!first_monotonic_ns_) return fail(ErrorKind::not_found, "the input has no frames");
    return fail(ErrorKind::damaged, "the input has no frame that can be shown");
  }
  if (how == InputEnd::whole && !has_event_stream()) write_end_event();
  return out_.flush();
}

}  // namespace mc::media
