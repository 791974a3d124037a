#include "media/capture_options.hpp"

#include <iterator>

namespace mc::media {
namespace {

struct Known {
  std::string_view name;
  Backend backend;
  bool picture, sound;
};
constexpr Known kBackends[] = {
    {"v4l2", Backend::v4l2, true, false},   {"x11", Backend::x11, true, false},    {"alsa", Backend::alsa, false, true},
    {"pulse", Backend::pulse, false, true}, {"lavfi", Backend::lavfi, true, true}, {"file", Backend::file, true, true},
};

}  // namespace

Result<DeviceSpec> parse_device(std::string_view text, StreamKind kind) {
  const char* what = kind == StreamKind::picture ? "picture" : "sound";
  const char* hint = kind == StreamKind::picture ? "v4l2:DEVICE, x11:DISPLAY, lavfi:GRAPH or file:PATH"
                                                 : "alsa:DEVICE, pulse:SOURCE, lavfi:GRAPH or file:PATH";
  const std::size_t colon = text.find(':');
  for (const Known& known : kBackends) {
    if (colon == std::string_view::npos || known.name != text.substr(0, colon)) continue;
    if (kind == StreamKind::picture ? !known.picture : !known.sound) break;
    if (colon + 1 == text.size()) break;
    return DeviceSpec{known.backend, std::string(text.substr(colon + 1)), std::string(text)};
  }
  return fail(
      Error{ErrorKind::usage, "not a source of " + std::string(what) + ": '" + std::string(text) + "'", 0, hint});
}

}  // namespace mc::media
