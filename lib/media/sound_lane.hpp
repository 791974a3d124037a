// The sound of a capture. Internal to this module; see lane.hpp.
//
// Standby keeps samples, not packets: a recording that begins before it was told begins at the sample all the same, and
// with its encoder's priming, which a cut between packets would not have. They are encoded at once at the start, some
// ten milliseconds of work for a second of sound.
#pragma once

#include "media/filter_chain.hpp"
#include "media/lane.hpp"

namespace mc::media {

class SoundLane : public Lane {
 public:
  static Result<std::unique_ptr<Lane>> open(const AVStream& stream, const DeviceSpec& device,
                                            const CaptureOptions& options);

  std::optional<double> take_peak() override;

 protected:
  using Lane::Lane;
  Status take(AVFrame* frame) override;
  Status begin() override;
  void bound_standby(std::int64_t span_ticks, std::uint64_t limit_bytes) override {
    standby_.set_bounds(span_ticks, limit_bytes);
  }
  std::int64_t ticks_of(std::int64_t encoder_pts) override;

 private:
  struct KeptFrame {
    FramePtr frame;
    std::int64_t stamp = 0;
  };
  Status stand_by(AVFrame* frame, std::int64_t stamp);
  Status record(AVFrame* frame, std::int64_t stamp);
  Status build_filters(const AVFrame& frame);
  Status drain();  // the converter's frames into the encoder
  // Cuts what lies before t0 and behind the duration off; false: nothing is left.
  bool trim(AVFrame& frame, std::int64_t& ticks);
  void tell_drift(std::int64_t ticks);

  std::optional<FilterChain> filters_;
  FramePtr converted_;
  StandbyRing<KeptFrame> standby_;
  std::optional<SoundClock> clock_;
  std::atomic<double> peak_{-1};  // below 0: no sample since it was taken
  bool suspended_ = false;        // a hole for it is still to be told
  int input_rate_ = 0;
  std::int64_t taken_ = 0;  // samples, at the input's rate
  std::int64_t sent_ = 0;   // samples, at the encoder's
  std::int64_t next_drift_ticks_ = 0;
};

}  // namespace mc::media
