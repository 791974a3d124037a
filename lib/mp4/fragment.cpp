#include "mp4/fragment.hpp"

#include <algorithm>

#include "base/units.hpp"
#include "mp4/box.hpp"

namespace mc::mp4 {
namespace {

constexpr std::uint64_t kMaxTicks = 1ULL << 62;
constexpr std::uint64_t kMaxSamplesInMoof = 1'000'000;

constexpr std::uint64_t kNtpUnixOffset_s = 2'208'988'800;  // 1900-01-01 to 1970-01-01, RFC 5905 figure 4

// tfhd flags (14496-12 8.8.7)
constexpr std::uint32_t kBaseDataOffset = 0x000001;
constexpr std::uint32_t kDescriptionIndex = 0x000002;
constexpr std::uint32_t kDefaultDuration = 0x000008;
constexpr std::uint32_t kDefaultSize = 0x000010;
constexpr std::uint32_t kDefaultFlags = 0x000020;
constexpr std::uint32_t kDefaultBaseIsMoof = 0x020000;
// trun flags (8.8.8)
constexpr std::uint32_t kDataOffset = 0x000001;
constexpr std::uint32_t kFirstFlags = 0x000004;
constexpr std::uint32_t kDurations = 0x000100;
constexpr std::uint32_t kSizes = 0x000200;
constexpr std::uint32_t kFlags = 0x000400;
constexpr std::uint32_t kCompositionOffsets = 0x000800;
// sample flags (8.8.3.1)
constexpr std::uint32_t kNonSync = 0x00010000;
constexpr std::uint32_t kSyncFlags = 0x02000000;                // depends on no other sample
constexpr std::uint32_t kNonSyncFlags = 0x01000000 | kNonSync;  // depends on others

std::uint32_t flags_of(const Sample& sample) { return sample.sync ? kSyncFlags : kNonSyncFlags; }

auto cut_off(const char* box) {
  return fail(ErrorKind::damaged, std::string("box '") + box + "' is shorter than its fields");
}

Status check_run(std::span<const Sample> samples) {
  if (samples.empty()) return fail(ErrorKind::bug, "a fragment needs a sample");
  std::uint64_t decode_time = samples.front().decode_time;
  for (const Sample& sample : samples) {
    if (sample.track_id != samples.front().track_id || sample.description != samples.front().description) {
      return fail(ErrorKind::bug, "a fragment holds samples of one track and one description");
    }
    if (sample.decode_time != decode_time) {
      return fail(ErrorKind::bug, "decode time " + std::to_string(sample.decode_time) + " does not follow from " +
                                      "the durations before it (" + std::to_string(decode_time) + ")");
    }
    decode_time += sample.duration;
  }
  return {};
}

void write_trun(std::span<const Sample> samples, ByteBuffer& out, std::size_t& data_offset_at) {
  const Sample& first = samples.front();
  std::uint32_t fields = kDataOffset | kSizes;
  bool first_flags_only = true;
  for (const Sample& sample : samples) {
    if (sample.duration != first.duration) fields |= kDurations;
    if (sample.composition_offset != 0) fields |= kCompositionOffsets;
    if (sample.sync != samples.back().sync && &sample != &first) first_flags_only = false;
  }
  if (!first_flags_only) {
    fields |= kFlags;
  } else if (first.sync != samples.back().sync) {
    fields |= kFirstFlags;
  }
  const BoxWriter trun(out, fourcc("trun"), 1, fields);
  append_be(out, samples.size(), 4);
  data_offset_at = out.size();
  append_be(out, 0, 4);
  if ((fields & kFirstFlags) != 0) append_be(out, flags_of(first), 4);
  for (const Sample& sample : samples) {
    if ((fields & kDurations) != 0) append_be(out, sample.duration, 4);
    append_be(out, sample.size_bytes, 4);
    if ((fields & kFlags) != 0) append_be(out, flags_of(sample), 4);
    if ((fields & kCompositionOffsets) != 0) append_be(out, static_cast<std::uint32_t>(sample.composition_offset), 4);
  }
}

// Reads the trafs of one moof into a list of samples.
class MoofReader {
 public:
  MoofReader(std::uint64_t moof_offset, const Movie& movie, std::span<const std::uint64_t> previous_end)
      : moof_offset_(moof_offset), data_end_(moof_offset), movie_(movie), track_end_(movie.tracks.size(), 0) {
    std::copy_n(previous_end.begin(), std::min(previous_end.size(), track_end_.size()), track_end_.begin());
  }

  Status read_traf(ByteView payload) {
    traf_ = {};
    MC_TRY(for_each_box(payload, [&](const Box& box) -> Status {
      if (box.type == fourcc("tfhd")) return read_tfhd(box.payload);
      if (box.type == fourcc("tfdt")) return read_tfdt(box.payload);
      if (box.type == fourcc("trun")) return read_trun(box.payload);
      return {};
    }));
    if (traf_.track == nullptr) return fail(ErrorKind::damaged, "box 'traf' has no 'tfhd'");
    track_end_[traf_.index] = traf_.decode_time;
    return {};
  }

  std::vector<LocatedSample> take_samples() && { return std::move(samples_); }

 private:
  struct Traf {
    const Track* track = nullptr;
    std::size_t index = 0;
    std::uint32_t description = 1, duration = 0, size = 0, flags = 0;
    std::uint64_t base = 0, next_data = 0, decode_time = 0;
    bool had_run = false;
  };

  Status read_tfhd(ByteView payload) {
    FieldReader in(payload);
    const std::uint32_t flags = in.u32() & 0xffffff;
    const std::uint32_t track_id = in.u32();
    for (std::size_t i = 0; i < movie_.tracks.size(); ++i) {
      if (movie_.tracks[i].id != track_id) continue;
      traf_.track = &movie_.tracks[i];
      traf_.index = i;
    }
    if (!in.ok()) return cut_off("tfhd");
    if (traf_.track == nullptr) {
      return fail(ErrorKind::damaged, "fragment of track " + std::to_string(track_id) + ", which the init has not");
    }
    const Track& track = *traf_.track;
    // Without a base of its own a traf's data follow those of the traf before it (8.8.7.1).
    traf_.base = (flags & kDefaultBaseIsMoof) != 0 ? moof_offset_ : data_end_;
    if ((flags & kBaseDataOffset) != 0) traf_.base = in.u64();
    traf_.description = (flags & kDescriptionIndex) != 0 ? in.u32() : track.default_description;
    traf_.duration = (flags & kDefaultDuration) != 0 ? in.u32() : track.nominal_duration;
    traf_.size = (flags & kDefaultSize) != 0 ? in.u32() : track.default_size_bytes;
    traf_.flags = (flags & kDefaultFlags) != 0 ? in.u32() : track.default_flags;
    if (!in.ok()) return cut_off("tfhd");
    if (traf_.base > kMaxTicks) return fail(ErrorKind::damaged, "fragment data lie at an impossible offset");
    if (traf_.description == 0 || traf_.description > track.descriptions.size()) {
      return fail(ErrorKind::damaged, "fragment of track " + std::to_string(track_id) + " uses description " +
                                          std::to_string(traf_.description) + ", which the init has not");
    }
    traf_.next_data = traf_.base;
    traf_.decode_time = track_end_[traf_.index];
    return {};
  }

  Status read_tfdt(ByteView payload) {
    FieldReader in(payload);
    const std::uint8_t version = in.u8();
    in.skip(3);
    traf_.decode_time = in.be(version == 1 ? 8 : 4);
    if (!in.ok()) return cut_off("tfdt");
    if (traf_.decode_time >= kMaxTicks) return fail(ErrorKind::damaged, "fragment begins at an impossible time");
    return {};
  }

  Status read_trun(ByteView payload) {
    if (traf_.track == nullptr) return fail(ErrorKind::damaged, "box 'trun' stands before its 'tfhd'");
    FieldReader in(payload);
    const std::uint8_t version = in.u8();
    const std::uint32_t fields = in.u24();
    const std::uint32_t count = in.u32();
    if ((fields & kDataOffset) != 0) {
      // The offset is signed; unsigned arithmetic gives the same sum, and what is below zero comes out too large.
      const auto offset = static_cast<std::int32_t>(in.u32());
      traf_.next_data = traf_.base + static_cast<std::uint64_t>(static_cast<std::int64_t>(offset));
    }
    const std::uint32_t first_flags = (fields & kFirstFlags) != 0 ? in.u32() : 0;
    if (!in.ok()) return cut_off("trun");
    if (traf_.next_data > 2 * kMaxTicks) return fail(ErrorKind::damaged, "fragment data lie at an impossible offset");
    std::size_t bytes_a_sample = 0;
    for (const std::uint32_t field : {kDurations, kSizes, kFlags, kCompositionOffsets}) {
      if ((fields & field) != 0) bytes_a_sample += 4;
    }
    if (static_cast<std::uint64_t>(count) * bytes_a_sample > in.left()) return cut_off("trun");
    if (count > kMaxSamplesInMoof - samples_.size()) return fail(ErrorKind::damaged, "fragment has too many samples");
    // Nothing at all would stand behind such a count.
    if (count != 0 && (fields & kSizes) == 0 && traf_.size == 0) {
      return fail(ErrorKind::damaged, "fragment has samples without a size");
    }
    reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      Sample sample;
      sample.track_id = traf_.track->id;
      sample.description = traf_.description;
      sample.decode_time = traf_.decode_time;
      sample.duration = (fields & kDurations) != 0 ? in.u32() : traf_.duration;
      sample.size_bytes = (fields & kSizes) != 0 ? in.u32() : traf_.size;
      std::uint32_t flags = traf_.flags;
      if (i == 0 && (fields & kFirstFlags) != 0) flags = first_flags;
      if ((fields & kFlags) != 0) flags = in.u32();
      sample.sync = (flags & kNonSync) == 0;
      if ((fields & kCompositionOffsets) != 0) {
        const std::uint32_t offset = in.u32();
        if (version == 0 && offset > INT32_MAX) {
          return fail(ErrorKind::damaged, "fragment has an impossible composition offset");
        }
        sample.composition_offset = static_cast<std::int32_t>(offset);
      }
      samples_.push_back({sample, traf_.next_data});
      traf_.next_data += sample.size_bytes;
      traf_.decode_time += sample.duration;
    }
    data_end_ = traf_.next_data;
    return {};
  }

  // Exactly for the usual single run, geometrically for a moof of many.
  void reserve(std::size_t more) {
    const std::size_t wanted = samples_.size() + more;
    if (wanted > samples_.capacity()) samples_.reserve(std::max(wanted, samples_.capacity() * 2));
  }

  std::uint64_t moof_offset_;
  std::uint64_t data_end_;
  const Movie& movie_;
  std::vector<std::uint64_t> track_end_;
  std::vector<LocatedSample> samples_;
  Traf traf_;
};

// The payload of a box given whole, checked to be of `type` and to fill `box` exactly.
Result<ByteView> payload_of(ByteView box, FourCc type) {
  MC_TRY_ASSIGN(const BoxHeader header, read_box_header(box));
  if (!header.complete || header.type != type || (header.size_bytes != 0 && header.size_bytes != box.size())) {
    return fail(ErrorKind::damaged, "this is not a whole box '" + to_text(type) + "'");
  }
  return box.subspan(header.header_bytes);
}

// Up to the zero byte, which is taken too. False: there is none.
bool read_string(FieldReader& in, std::string& text) {
  while (in.left() != 0) {
    const auto c = static_cast<char>(in.u8());
    if (c == 0) return true;
    text += c;
  }
  return false;
}

}  // namespace

void write_styp(ByteBuffer& out) {
  const BoxWriter styp(out, fourcc("styp"));
  append_be(out, fourcc("msdh"), 4);
  append_be(out, 0, 4);
  append_be(out, fourcc("msdh"), 4);
}

void write_prft(const ProducerTime& time, ByteBuffer& out) {
  // Floor division, so that times before 1970 have a positive fraction too.
  constexpr auto kSecond = static_cast<std::int64_t>(kNanosecondsPerSecond);
  std::int64_t seconds = time.wall_ns / kSecond;
  std::int64_t nanoseconds = time.wall_ns % kSecond;
  if (nanoseconds < 0) {
    --seconds;
    nanoseconds += kSecond;
  }
  const std::uint64_t fraction =
      ((static_cast<std::uint64_t>(nanoseconds) << 32) + kNanosecondsPerSecond / 2) / kNanosecondsPerSecond;
  const BoxWriter prft(out, fourcc("prft"), 1, 24);
  append_be(out, time.track_id, 4);
  append_be(out, static_cast<std::uint64_t>(seconds) + kNtpUnixOffset_s, 4);  // modulo the era
  append_be(out, fraction, 4);
  append_be(out, time.media_time, 8);
}

Result<ProducerTime> parse_prft(ByteView box) {
  MC_TRY_ASSIGN(const ByteView payload, payload_of(box, fourcc("prft")));
  FieldReader in(payload);
  const std::uint8_t version = in.u8();
  in.skip(3);
  ProducerTime time;
  time.track_id = in.u32();
  std::uint64_t seconds = in.u32();
  const std::uint64_t fraction = in.u32();
  time.media_time = in.be(version == 0 ? 4 : 8);
  if (!in.ok()) return cut_off("prft");
  // RFC 4330 section 3: with the top bit set the time is in 1968 to 2036, else in 2036 to 2104.
  if (seconds < 1ULL << 31) seconds += 1ULL << 32;
  const auto unix_s = static_cast<std::int64_t>(seconds) - static_cast<std::int64_t>(kNtpUnixOffset_s);
  const std::uint64_t nanoseconds = (fraction * kNanosecondsPerSecond + (1ULL << 31)) >> 32;
  time.wall_ns = unix_s * static_cast<std::int64_t>(kNanosecondsPerSecond) + static_cast<std::int64_t>(nanoseconds);
  return time;
}

void write_emsg(const Event& event, ByteBuffer& out) {
  const BoxWriter emsg(out, fourcc("emsg"), 1, 0);
  append_be(out, event.timescale, 4);
  append_be(out, event.time, 8);
  append_be(out, 0, 4);  // an instant
  append_be(out, event.id, 4);
  append(out, as_bytes(event.scheme));
  append_be(out, 0, 1);
  append_be(out, 0, 1);  // no value
  append(out, as_bytes(event.json));
}

Result<Event> parse_emsg(ByteView box) {
  MC_TRY_ASSIGN(const ByteView payload, payload_of(box, fourcc("emsg")));
  FieldReader in(payload);
  const std::uint8_t version = in.u8();
  in.skip(3);
  Event event;
  event.scheme.clear();
  std::string value;
  if (version > 1) return fail(ErrorKind::damaged, "box 'emsg' has an unknown version");
  if (version == 0 && !(read_string(in, event.scheme) && read_string(in, value))) return cut_off("emsg");
  event.timescale = in.u32();
  event.time = in.be(version == 0 ? 4 : 8);
  in.skip(4);
  event.id = in.u32();
  if (version == 1 && !(read_string(in, event.scheme) && read_string(in, value))) return cut_off("emsg");
  if (!in.ok()) return cut_off("emsg");
  if (event.timescale == 0) return fail(ErrorKind::damaged, "box 'emsg' has the timescale 0");
  event.json = as_text(in.rest());
  return event;
}

Status write_fragment_header(std::uint32_t sequence_number, std::span<const Sample> samples, ByteBuffer& out) {
  MC_TRY(check_run(samples));
  const Sample& first = samples.front();
  const std::size_t moof_at = out.size();
  std::size_t data_offset_at = 0;
  {
    const BoxWriter moof(out, fourcc("moof"));
    {
      const BoxWriter mfhd(out, fourcc("mfhd"), 0, 0);
      append_be(out, sequence_number, 4);
    }
    const BoxWriter traf(out, fourcc("traf"));
    {
      const BoxWriter tfhd(out, fourcc("tfhd"), 0,
                           kDefaultBaseIsMoof | kDescriptionIndex | kDefaultDuration | kDefaultFlags);
      append_be(out, first.track_id, 4);
      append_be(out, first.description, 4);
      append_be(out, first.duration, 4);
      append_be(out, flags_of(samples.back()), 4);
    }
    {
      const BoxWriter tfdt(out, fourcc("tfdt"), 1, 0);
      append_be(out, first.decode_time, 8);
    }
    write_trun(samples, out, data_offset_at);
  }
  std::uint64_t payload = 0;
  for (const Sample& sample : samples) payload += sample.size_bytes;
  if (payload + 8 <= UINT32_MAX) {
    append_be(out, payload + 8, 4);
    append_be(out, fourcc("mdat"), 4);
  } else {
    append_be(out, 1, 4);
    append_be(out, fourcc("mdat"), 4);
    append_be(out, payload + 16, 8);
  }
  store_be(out.data() + data_offset_at, out.size() - moof_at, 4);
  return {};
}

Result<std::vector<LocatedSample>> parse_moof(ByteView moof, std::uint64_t moof_offset, const Movie& movie,
                                              std::span<const std::uint64_t> previous_end) {
  MC_TRY_ASSIGN(const ByteView payload, payload_of(moof, fourcc("moof")));
  MoofReader reader(moof_offset, movie, previous_end);
  MC_TRY(for_each_box(payload, [&](const Box& box) -> Status {
    return box.type == fourcc("traf") ? reader.read_traf(box.payload) : Status{};
  }));
  return std::move(reader).take_samples();
}

}  // namespace mc::mp4
