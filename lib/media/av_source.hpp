// Every container but NUT, by libavformat. Opened by open_source.
#pragma once

#include <memory>

#include "media/source.hpp"

namespace mc::media {

Result<std::unique_ptr<Source>> open_av_source(ByteInput& input, const SourceOptions& options);

}  // namespace mc::media
