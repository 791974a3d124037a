#include "media/source.hpp"

#include <algorithm>

#include "media/av_source.hpp"
#include "media/nut_source.hpp"

namespace mc::media {

Result<std::unique_ptr<Source>> open_source(ByteInput& input, const SourceOptions& options) {
  std::uint8_t head[nut::kFileId.size()];
  std::size_t have = 0;
  while (have < sizeof head) {
    MC_TRY_ASSIGN(const std::size_t n, input.read(std::span(head).subspan(have)));
    if (n == 0) break;
    have += n;
    // No need to wait for all of it when it already differs.
    if (!std::equal(head, head + have, nut::kFileId.begin())) break;
  }
  if (have == 0) return fail(ErrorKind::not_found, input.what() + " is empty");
  input.unread(std::span(head, have));
  const bool is_nut = have == sizeof head && std::equal(head, head + have, nut::kFileId.begin());
  const bool wants_nut = options.format == "nut" || (options.format.empty() && is_nut);
  if (wants_nut && !is_nut) return fail(ErrorKind::damaged, input.what() + " is not a NUT stream");
  auto source = wants_nut ? NutSource::open(input) : open_av_source(input, options);
  if (!source) return source;
  const auto wanted = [](const Stream& stream) { return stream.parameters.has_value(); };
  if (std::none_of((*source)->streams().begin(), (*source)->streams().end(), wanted)) {
    return fail(Error{ErrorKind::refused, "no picture and no sound of a known codec in " + input.what(), 0,
                      "a recording takes h264, hevc, av1, vp9, aac, opus and flac"});
  }
  return source;
}

}  // namespace mc::media
