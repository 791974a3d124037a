// A chain of libavfilter between one source and one sink, to bring frames into an encoder's format. Internal to this
// module. Not for two threads at once.
#pragma once

#include <string>

#include "base/error.hpp"
#include "media/av_ptr.hpp"

namespace mc::media {

class FilterChain {
 public:
  // `input` describes the frames as the filters buffer and abuffer take it; `chain` is what they go through.
  static Result<FilterChain> open(AVMediaType type, const std::string& input, const std::string& chain);

  void set_frame_size(int samples);   // of what comes out; only the last may be shorter
  Status push(AVFrame* frame);        // keeps a reference of its own; null = the end
  Result<bool> pull(AVFrame* frame);  // false: wants more input, or is at its end

 private:
  GraphPtr graph_;
  AVFilterContext* in_ = nullptr;
  AVFilterContext* out_ = nullptr;
};

}  // namespace mc::media
