#include "mp4/stream_parser.hpp"

#include <algorithm>

#include "mp4/box.hpp"

namespace mc::mp4 {
namespace {

constexpr std::size_t kCompactBytes = 64U << 10;

bool is_read(FourCc type) {
  switch (type) {
    case fourcc("moov"):
    case fourcc("moof"):
    case fourcc("styp"):
    case fourcc("prft"):
    case fourcc("emsg"): return true;
    default: return false;
  }
}

// The types of boxes at the top are letters (a few carry '©'); anything else is not a box but garbage.
bool is_plausible(FourCc type) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    const std::uint32_t c = type >> shift & 0xff;
    if ((c < 0x20 || c > 0x7e) && c != 0xa9) return false;
  }
  return true;
}

// Is a / a_scale earlier than b / b_scale? In whole seconds and the rest, so that nothing overflows.
bool earlier(std::uint64_t a, std::uint32_t a_scale, std::uint64_t b, std::uint32_t b_scale) {
  const std::uint64_t a_whole = a / a_scale;
  const std::uint64_t b_whole = b / b_scale;
  if (a_whole != b_whole) return a_whole < b_whole;
  return (a % a_scale) * b_scale < (b % b_scale) * a_scale;
}

// By decode time across tracks. Each sample is sorted by the latest time that its track has reached, so that a track
// whose trafs step back keeps its own order.
void sort_across_tracks(std::vector<LocatedSample>& samples, const Movie& movie) {
  const auto one_track = [&](const LocatedSample& s) { return s.sample.track_id == samples.front().sample.track_id; };
  if (std::all_of(samples.begin(), samples.end(), one_track)) return;
  struct Key {
    std::uint64_t time;
    std::uint32_t timescale;
    std::size_t index;
  };
  std::vector<std::uint64_t> reached(movie.tracks.size(), 0);
  std::vector<Key> keys;
  keys.reserve(samples.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Track* track = movie.find(samples[i].sample.track_id);
    std::uint64_t& latest = reached[static_cast<std::size_t>(track - movie.tracks.data())];
    latest = std::max(latest, samples[i].sample.decode_time);
    keys.push_back({latest, track->timescale, i});
  }
  std::stable_sort(keys.begin(), keys.end(),
                   [](const Key& a, const Key& b) { return earlier(a.time, a.timescale, b.time, b.timescale); });
  std::vector<LocatedSample> sorted;
  sorted.reserve(samples.size());
  for (const Key& key : keys) sorted.push_back(samples[key.index]);
  samples = std::move(sorted);
}

}  // namespace

void StreamParser::push(ByteView bytes) {
  if (failed_) return;
  const auto dropped = static_cast<std::size_t>(std::min<std::uint64_t>(skip_bytes_, bytes.size()));
  if (dropped != 0 && head_ == buffer_.size()) {  // of a box nobody wants: never copied
    skip_bytes_ -= dropped;
    offset_ += dropped;
    bytes = bytes.subspan(dropped);
  }
  if (head_ == buffer_.size()) {
    buffer_.clear();
    head_ = 0;
  } else if (head_ >= kCompactBytes && head_ >= buffer_.size() / 2) {
    // What is moved is at most as long as what was read since the last time.
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  append(buffer_, bytes);
}

void StreamParser::advance(std::uint64_t bytes) {
  const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, buffer_.size() - head_));
  head_ += here;
  offset_ += here;
  skip_bytes_ += bytes - here;
}

std::uint64_t StreamParser::wanted() const {
  constexpr std::uint64_t kHeaderBytes = 8;
  if (skip_bytes_ != 0) return std::min(skip_bytes_, UINT64_MAX - kHeaderBytes) + kHeaderBytes;
  const ByteView left = ByteView(buffer_).subspan(head_);
  if (left.size() < kHeaderBytes) return kHeaderBytes - left.size();
  const auto header = read_box_header(left);
  if (!header || header->size_bytes == 0) return UINT64_MAX;  // damage, or a box that lasts to the end
  if (!header->complete) return 2 * kHeaderBytes;             // a 64-bit size
  return header->size_bytes <= left.size() ? kHeaderBytes : header->size_bytes - left.size() + kHeaderBytes;
}

Result<std::optional<Item>> StreamParser::next() {
  if (failed_) return fail(*failed_);
  auto item = advance_to_item();
  if (!item) {
    failed_ = item.error();
    buffer_ = {};
    head_ = 0;
  }
  return item;
}

Result<std::optional<Item>> StreamParser::advance_to_item() {
  while (true) {
    if (emitting_) {
      if (next_sample_ < pending_.size()) return emit_sample();
      end_fragment();
    }
    if (item_) return std::exchange(item_, std::nullopt);
    if (skip_bytes_ != 0) {
      advance(std::exchange(skip_bytes_, 0));
      if (skip_bytes_ != 0) return std::nullopt;
    }
    MC_TRY_ASSIGN(const bool more, read_box());
    if (!more) return std::nullopt;
  }
}

// One box from the front of the buffer. False: it is not whole yet.
Result<bool> StreamParser::read_box() {
  const ByteView left = ByteView(buffer_).subspan(head_);
  const auto damaged = [&](const std::string& what) {
    return fail(ErrorKind::damaged, what + " at byte " + std::to_string(offset_));
  };
  auto header = read_box_header(left);
  if (!header) return damaged(header.error().message);
  if (left.size() >= 8 && !is_plausible(static_cast<FourCc>(load_be(left.data() + 4, 4)))) {
    return damaged("there is no box");
  }
  if (!header->complete) return false;
  box_start_ = offset_;
  if (header->type == fourcc("mdat") && !pending_.empty()) return take_data(left, *header);
  if (!is_read(header->type)) {
    advance(header->size_bytes == 0 ? UINT64_MAX - offset_ : header->size_bytes);
    return true;
  }
  if (header->size_bytes == 0 || header->size_bytes > kMaxHeaderBoxBytes) {
    return damaged("box '" + to_text(header->type) + "' has an impossible size");
  }
  if (left.size() < header->size_bytes) return false;
  const ByteView whole = left.first(static_cast<std::size_t>(header->size_bytes));
  if (auto taken = take_box(header->type, whole); !taken) {
    taken.error().message += " at byte " + std::to_string(offset_);
    return fail(std::move(taken).error());
  }
  advance(whole.size());
  return true;
}

Status StreamParser::take_box(FourCc type, ByteView box) {
  if ((type == fourcc("moof") || type == fourcc("moov")) && !pending_.empty()) {
    return fail(ErrorKind::damaged, "the fragment before has samples without data");
  }
  switch (type) {
    case fourcc("moov"): {
      MC_TRY_ASSIGN(Movie movie, parse_init(box));
      if (has_own_samples(box)) {
        return fail(Error{ErrorKind::refused, "the movie has samples outside of fragments", 0, {}}.with_hint(
            "write it in fragments from the start (ffmpeg: -movflags empty_moov)"));
      }
      std::vector<std::uint64_t> track_end;
      for (const Track& track : movie.tracks) track_end.push_back(end_of_track(track.id));
      track_end_ = std::move(track_end);
      movie_ = std::move(movie);
      item_ = InitItem{*movie_};
      return {};
    }
    case fourcc("moof"): return take_moof(box);
    case fourcc("prft"): {
      MC_TRY_ASSIGN(const ProducerTime time, parse_prft(box));
      item_ = ProducerTimeItem{time};
      return {};
    }
    case fourcc("emsg"): {
      MC_TRY_ASSIGN(Event event, parse_emsg(box));
      item_ = EventItem{std::move(event)};
      return {};
    }
    default: item_ = SegmentItem{}; return {};
  }
}

std::uint64_t StreamParser::end_of_track(std::uint32_t track_id) const {
  for (std::size_t i = 0; i < track_end_.size(); ++i) {
    if (movie_->tracks[i].id == track_id) return track_end_[i];
  }
  return 0;
}

Status StreamParser::take_moof(ByteView moof) {
  if (!movie_) return fail(ErrorKind::damaged, "a fragment stands before the init segment");
  MC_TRY_ASSIGN(pending_, parse_moof(moof, offset_, *movie_, track_end_));
  fragment_start_ = offset_;
  sample_bytes_ = 0;
  for (const LocatedSample& located : pending_) {
    const Track* track = movie_->find(located.sample.track_id);
    track_end_[static_cast<std::size_t>(track - movie_->tracks.data())] =
        located.sample.decode_time + located.sample.duration;
    sample_bytes_ += located.sample.size_bytes;
  }
  if (sample_bytes_ > kMaxFragmentBytes) return fail(ErrorKind::damaged, "the fragment is too large");
  return {};
}

// An mdat behind a moof. False: it is not whole yet.
Result<bool> StreamParser::take_data(ByteView left, const BoxHeader& header) {
  const std::uint64_t payload_start = offset_ + header.header_bytes;
  std::uint64_t size = header.size_bytes;
  if (size == 0) {  // to the end of the stream: as far as the samples reach
    std::uint64_t end = payload_start;
    for (const LocatedSample& located : pending_) end = std::max(end, located.offset + located.sample.size_bytes);
    size = end - offset_;
  }
  if (size + stashed_bytes_ > kMaxFragmentBytes) {
    return fail(ErrorKind::damaged, "the fragment at byte " + std::to_string(fragment_start_) + " is too large");
  }
  if (left.size() < size) return false;
  const ByteView payload = left.subspan(header.header_bytes, static_cast<std::size_t>(size) - header.header_bytes);
  const auto is_here = [&](const LocatedSample& located) {
    return !locate(located, payload_start, payload).empty() || located.sample.size_bytes == 0;
  };
  if (!std::all_of(pending_.begin(), pending_.end(), is_here)) {
    if (header.size_bytes == 0) {
      return fail(ErrorKind::damaged, "the samples at byte " + std::to_string(fragment_start_) + " have no data");
    }
    stash_.push_back({payload_start, ByteBuffer(payload.begin(), payload.end())});
    stashed_bytes_ += size;
    advance(size);
    return true;
  }
  // More samples than data means that they overlap.
  if (sample_bytes_ > payload.size() + stashed_bytes_) {
    return fail(ErrorKind::damaged, "the samples at byte " + std::to_string(fragment_start_) + " overlap");
  }
  sort_across_tracks(pending_, *movie_);
  data_start_ = payload_start;
  data_bytes_ = payload.size();
  data_header_bytes_ = header.header_bytes;
  data_to_end_ = header.size_bytes == 0;
  next_sample_ = 0;
  emitting_ = true;
  return true;
}

ByteView StreamParser::locate(const LocatedSample& located, std::uint64_t start, ByteView payload) const {
  const auto inside = [&](std::uint64_t from, ByteView data) -> ByteView {
    const std::uint64_t size = located.sample.size_bytes;
    if (located.offset < from || located.offset - from > data.size() || size > data.size() - (located.offset - from)) {
      return {};
    }
    return data.subspan(static_cast<std::size_t>(located.offset - from), static_cast<std::size_t>(size));
  };
  if (const ByteView found = inside(start, payload); !found.empty()) return found;
  for (const Stash& stash : stash_) {
    if (const ByteView found = inside(stash.offset, stash.payload); !found.empty()) return found;
  }
  return {};
}

Item StreamParser::emit_sample() {
  const LocatedSample& located = pending_[next_sample_++];
  const ByteView payload = ByteView(buffer_).subspan(head_ + data_header_bytes_, data_bytes_);
  const ByteView data = locate(located, data_start_, payload);
  return SampleItem{located.sample, ByteBuffer(data.begin(), data.end())};
}

void StreamParser::end_fragment() {
  emitting_ = false;
  pending_.clear();
  stash_.clear();
  stashed_bytes_ = 0;
  advance(data_to_end_ ? UINT64_MAX - offset_ : data_header_bytes_ + data_bytes_);
}

StreamParser::End StreamParser::finish() const {
  const std::uint64_t received = offset_ + (buffer_.size() - head_);
  End end;
  end.saw_init = movie_.has_value();
  if (!pending_.empty()) {
    end.torn_bytes = received - fragment_start_;
  } else if (skip_bytes_ != 0 && skip_bytes_ < UINT64_MAX / 2) {
    end.torn_bytes = received - box_start_;
  } else {
    end.torn_bytes = buffer_.size() - head_;
  }
  return end;
}

}  // namespace mc::mp4
