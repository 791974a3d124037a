#include "media/av_error.hpp"

#include <cerrno>
#include <cstdarg>
#include <mutex>
#include <string>

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
}

namespace mc::media {
namespace {

std::mutex log_mutex;
Log& log_target() {
  static Log target;
  return target;
}

void forward(void* context, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_WARNING) return;
  char text[512] = {};
  int print_prefix = 1;
  // Knows how to name the context, also one that is only half made.
  if (av_log_format_line2(context, level, format, arguments, text, sizeof text, &print_prefix) <= 0) return;
  std::string line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  if (line.empty()) return;
  const std::lock_guard lock(log_mutex);
  if (log_target()) log_target()(LogLevel::debug, line);
}

ErrorKind kind_of(int code) {
  if (code == AVERROR_INVALIDDATA || code == AVERROR_EOF || code == AVERROR_PATCHWELCOME) return ErrorKind::damaged;
  if (code == AVERROR_ENCODER_NOT_FOUND || code == AVERROR_FILTER_NOT_FOUND || code == AVERROR_OPTION_NOT_FOUND ||
      code == AVERROR(EINVAL) || code == AVERROR(ENOSYS)) {
    return ErrorKind::config;
  }
  if (code == AVERROR_DECODER_NOT_FOUND || code == AVERROR_DEMUXER_NOT_FOUND) return ErrorKind::refused;
  if (code == AVERROR_STREAM_NOT_FOUND || code == AVERROR(ENOENT) || code == AVERROR(ENODEV) ||
      code == AVERROR(ENXIO)) {
    return ErrorKind::not_found;
  }
  if (code == AVERROR(EACCES) || code == AVERROR(EPERM)) return ErrorKind::permission;
  if (code == AVERROR(ENOMEM) || code == AVERROR(EAGAIN) || code == AVERROR(EBUSY)) return ErrorKind::unavailable;
  if (code == AVERROR(ENOSPC)) return ErrorKind::no_space;
  if (code == AVERROR_BUG || code == AVERROR_BUG2) return ErrorKind::bug;
  return ErrorKind::io;
}

}  // namespace

Error av_error(int code, std::string_view what) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  std::string reason = text;
  // libavutil's texts begin with a capital; ours do not.
  if (reason.size() > 1 && reason[0] >= 'A' && reason[0] <= 'Z' && !(reason[1] >= 'A' && reason[1] <= 'Z')) {
    reason[0] = static_cast<char>(reason[0] - 'A' + 'a');
  }
  const int system = AVUNERROR(code);
  return {kind_of(code), std::string(what) + ": " + reason, system > 0 && system < 4096 ? system : 0, {}};
}

void route_av_log(Log log) {
  const std::lock_guard lock(log_mutex);
  log_target() = std::move(log);
  av_log_set_callback(forward);
}

}  // namespace mc::media
