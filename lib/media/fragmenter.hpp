// Coded packets in, fragmented MP4 out: one fragment per frame, at once (design: "One frame of loss, not one chunk").
//
//   Fragmenter fragmenter(*source, out, options);
//   for each packet: MC_TRY(fragmenter.add(packet));
//   before each read of the input: fragmenter.before_read(…);  // writes out what is gathered
//   MC_TRY(fragmenter.finish(InputEnd::whole));                // at the end of the input
//
// What comes out (mc-mux(1)):
//   ftyp moov                 once the parameters of all streams are known; again at each change of parameters
//   emsg {"event":"start",…}  t0, its bound and the recording id, as far as they are known
//   styp prft                 before the first frame of each chunk (mp4::CutRule)
//   moof mdat                 per frame; its duration is nominal, the next fragment's tfdt is authoritative
//   emsg                      per event of the stream, at its time
//   emsg {"event":"end"}      at the end of an input that has no event stream and ended whole: whoever has an event
//   stream
//                             says himself when the recording ends
//
// t0 is the option, else the tag `maycast-t0`, else the earliest decode time among the first packets of all streams:
// packets are held until each stream has shown one, and kHoldNs at most; but as long as there is input to read, they go
// on being held, since it is we who are late then, not the stream (kParametersNs, kHoldBytes). Parameters that only a
// packet can tell are waited for up to kParametersNs; a stream that then still lacks them is left out, with a warning.
//
// The decode time of a track's frame is its decode time in the source minus t0, plus the priming for sound (which
// Track::media_time takes off again). Where t0 was given and pictures with B-frames begin at it, plus the smallest
// shift that keeps the first one from being negative: composition offsets are signed, so presentation times stay exact,
// and Track::media_time stays 0.
//
// A source whose clock is set back (its time stamps jump backwards by more than kSetBackNs, and by more than reordering
// can explain) goes on behind its last frame: all of its tracks are moved by the same time from there on, and
// {"event":"clock","set-back-us":…} tells.
//
// Memory: what is held at the start (kHoldBytes at most), then one frame and what the writer has gathered.
// Not for two threads at once.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "base/json.hpp"
#include "base/log.hpp"
#include "media/decode_times.hpp"
#include "media/gather_writer.hpp"
#include "media/source.hpp"
#include "media/track_framer.hpp"
#include "mp4/cut_rule.hpp"
#include "mp4/fragment.hpp"

namespace mc::media {

enum class TimeStamps : std::uint8_t {
  given,    // the packets'
  arrival,  // the time at which each packet came in, for input that has none; no B-frames then
};

// How the input ended.
enum class InputEnd : std::uint8_t {
  whole,   // behind a whole packet
  broken,  // torn, damaged, or cut off by a stop: the recording has not ended
};

struct FragmenterOptions {
  std::optional<std::int64_t> t0_wall_ns;
  TimeStamps time_stamps = TimeStamps::given;
  Log log = no_log();
  const Clock* clock = &system_clock();
};

class Fragmenter {
 public:
  static constexpr std::int64_t kHoldNs = 50'000'000;
  static constexpr std::int64_t kParametersNs = 2'000'000'000;
  static constexpr std::uint64_t kHoldBytes = 64U << 20;
  static constexpr std::int64_t kSetBackNs = 500'000'000;

  // `source` and `out` must outlive it. Streams of other kinds are named in a warning and left out.
  Fragmenter(const Source& source, GatherWriter& out, FragmenterOptions options);

  Status add(const Packet& packet);
  // To be called before the input is waited for; `nothing_came` when that was done for as long as the last answer said,
  // in vain. The answer: after how many milliseconds it wants to be called again at the latest, or -1.
  Result<int> before_read(bool nothing_came);
  // Kinds: not_found (not a single frame came), damaged (packets, but no frame could be made of them).
  Status finish(InputEnd how);
  bool wrote_init() const { return started_; }

 private:
  struct TrackState {
    TrackState(std::uint32_t track_id, Stream stream) : id(track_id), framer(std::move(stream)) {}
    std::uint32_t id;
    TrackFramer framer;
    bool in_movie = false;
    bool shown = false;       // has given a frame
    std::int64_t origin = 0;  // t0 in its ticks
    std::int64_t priming = 0;
    std::int64_t shift = 0;
    std::optional<DecodeTimes> decode_times;
    std::optional<std::int64_t> last_decode;
    std::int64_t last_difference = 0;
    std::int64_t moved = 0;              // by which its times are moved, in its ticks
    std::optional<std::int64_t> latest;  // the largest presentation time so far, as moved
    std::optional<Dropped> early;        // before t0 or before the first key frame past it
  };
  struct HeldFrame {
    std::size_t track = 0;
    Frame frame;
    std::optional<Dropped> dropped;
  };
  struct HeldEvent {
    TimeBase time_base;
    std::int64_t pts = 0;
    json::object event;
  };
  using Held = std::variant<HeldFrame, HeldEvent>;

  Status take_event(const Stream& stream, const Packet& packet);
  enum class Input : std::uint8_t { flows, starves, ended };
  Status start_if_ready(Input input);
  bool ready_to_start(Input input) const;
  bool all_described() const;
  std::int64_t held_for_ns() const;
  Status start();
  void choose_t0();
  void write_init();
  void write_start_event();
  bool has_event_stream() const;
  void write_end_event();
  Status emit(HeldFrame held);
  void follow_clock(TrackState& track, Frame& frame);
  Status emit_frame(TrackState& track, Frame frame);
  void emit_gap(const TrackState& track, const Dropped& dropped);
  void emit_event(const HeldEvent& held);
  void write_event(json::object event, std::uint64_t time, std::uint32_t timescale);
  std::int64_t wall_ns_at(std::uint64_t time, std::uint32_t timescale) const;

  const Source& source_;
  GatherWriter& out_;
  FragmenterOptions options_;
  std::vector<std::unique_ptr<TrackState>> tracks_;
  std::vector<int> track_of_stream_;  // index into tracks_, or -1
  std::deque<Held> held_;
  std::uint64_t held_bytes_ = 0;
  std::optional<std::int64_t> first_monotonic_ns_;  // arrival of the first packet
  std::int64_t first_wall_ns_ = 0;
  bool started_ = false;
  bool t0_tagged_ = false;
  std::int64_t t0_ticks_ = 0;  // t0 on the source's timeline
  std::int64_t t0_timescale_ = 1;
  std::int64_t t0_wall_ns_ = 0;
  std::int64_t moved_ns_ = 0;  // by which the source's clock was set back, in all
  json::object start_event_;   // what the stream's own start event says
  mp4::Movie movie_;
  std::optional<mp4::CutRule> cut_rule_;
  std::uint32_t sequence_number_ = 0;
  std::uint32_t event_id_ = 0;
};

}  // namespace mc::media
