// A stream of boxes that may be anything, in pieces of any size: no crash, and every item that comes out is whole and
// the same however the bytes were cut up.
#include "mp4/cut_rule.hpp"
#include "mp4/stream_parser.hpp"
#include "require.hpp"

namespace {

using namespace mc;
using namespace mc::mp4;

struct Seen {
  std::size_t inits = 0, samples = 0, others = 0;
  std::uint64_t bytes = 0, mix = 0;
  bool failed = false;
  bool operator==(const Seen&) const = default;
};

class Reader {
 public:
  void push(ByteView bytes) {
    parser_.push(bytes);
    while (true) {
      auto item = parser_.next();
      if (!item) {
        seen_.failed = true;
        require(!item.error().message.empty() && !parser_.next());
        return;
      }
      if (!*item) return;
      std::visit([this](const auto& what) { take(what); }, **item);
    }
  }
  Seen finish(std::size_t pushed) {
    const auto end = parser_.finish();
    require(seen_.failed || end.torn_bytes <= pushed);
    require(end.saw_init || seen_.samples == 0);
    return seen_;
  }

 private:
  void take(const InitItem& item) {
    ++seen_.inits;
    movie_ = item.movie;
    rule_.emplace(movie_);
    ByteBuffer written;
    write_init(movie_, written);
    const auto again = parse_init(written);
    require(again.has_value());
    ByteBuffer twice;
    write_init(*again, twice);
    require(written == twice);
    const auto merged = merge(movie_, movie_);
    require(merged && !merged->changed);
  }
  void take(const SampleItem& item) {
    ++seen_.samples;
    seen_.bytes += item.data.size();
    for (const std::uint8_t byte : item.data) seen_.mix = seen_.mix * 31 + byte;
    require(item.data.size() == item.sample.size_bytes);
    const Track* track = movie_.find(item.sample.track_id);
    require(track != nullptr && item.sample.description >= 1 && item.sample.description <= track->descriptions.size());
    rule_->starts_chunk(item.sample);
    ByteBuffer fragment;
    require(write_fragment_header(1, std::span(&item.sample, 1), fragment).has_value());
    ByteView moof(fragment);
    moof = moof.first(static_cast<std::size_t>(load_be(fragment.data(), 4)));
    const auto located = parse_moof(moof, 0, movie_);
    require(item.sample.size_bytes == 0 || (located && located->size() == 1 && located->front().sample == item.sample));
  }
  void take(const EventItem& item) {
    ++seen_.others;
    ByteBuffer box;
    write_emsg(item.event, box);
    const auto again = parse_emsg(box);
    require(again && again->json == item.event.json && again->time == item.event.time);
  }
  void take(const ProducerTimeItem& item) {
    ++seen_.others;
    ByteBuffer box;
    write_prft(item.time, box);
    const auto again = parse_prft(box);
    require(again && again->wall_ns == item.time.wall_ns && again->media_time == item.time.media_time);
  }
  void take(const SegmentItem&) { ++seen_.others; }

  StreamParser parser_;
  Movie movie_;
  std::optional<CutRule> rule_;
  Seen seen_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  Reader whole;
  whole.push(bytes);
  const std::size_t step = size == 0 ? 1 : 1 + data[size - 1] % 97U;
  Reader pieces;
  for (std::size_t at = 0; at < size; at += step) pieces.push(bytes.subspan(at, std::min(step, size - at)));
  require(whole.finish(size) == pieces.finish(size));
  static_cast<void>(parse_init(bytes));
  return 0;
}
