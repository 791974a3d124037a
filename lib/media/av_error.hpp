// The only translator of AVERROR, and where libav* messages go. Internal to this module.
#pragma once

#include <string_view>

#include "base/error.hpp"
#include "base/log.hpp"

namespace mc::media {

// `code` is negative, as libav* returned it; `what` is the whole action: "cannot open the encoder 'libx264'".
Error av_error(int code, std::string_view what);

// From now on libav* says its errors and warnings to `log`, as debug lines: the tools have their own words for what
// matters. One log per process; an empty one silences libav*.
void route_av_log(Log log);

}  // namespace mc::media
