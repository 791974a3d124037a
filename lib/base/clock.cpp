#include "base/clock.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "base/units.hpp"

namespace mc {
namespace {

std::int64_t read(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

class SystemClock final : public Clock {
 public:
  std::int64_t wall_ns() const override { return read(CLOCK_REALTIME); }
  std::int64_t monotonic_ns() const override { return read(CLOCK_MONOTONIC); }
  std::int64_t suspended_ns() const override {
    // In this order a pause between the two makes it less, never more.
    const std::int64_t boot = read(CLOCK_BOOTTIME);
    return boot - read(CLOCK_MONOTONIC);
  }
};

bool number(std::string_view text, std::size_t at, std::size_t length, int& value) {
  if (at + length > text.size()) return false;
  const char* first = text.data() + at;
  const auto [end, ec] = std::from_chars(first, first + length, value);
  return ec == std::errc{} && end == first + length && *first != '-';
}

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

std::string format_utc(std::int64_t wall_ns) {
  std::int64_t seconds = wall_ns / 1'000'000'000;
  std::int64_t fraction = wall_ns % 1'000'000'000;
  if (fraction < 0) {
    fraction += 1'000'000'000;
    --seconds;
  }
  const auto time = static_cast<std::time_t>(seconds);
  std::tm tm{};
  gmtime_r(&time, &tm);
  std::array<char, 96> text{};
  const int n = std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", tm.tm_year + 1900,
                              tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, static_cast<int>(fraction));
  return {text.data(), static_cast<std::size_t>(n)};
}

Result<std::int64_t> parse_utc(std::string_view text) {
  std::tm tm{};
  const auto bad = [&] { return fail(ErrorKind::damaged, "not a UTC time: '" + std::string(text) + "'"); };
  if (!(number(text, 0, 4, tm.tm_year) && number(text, 5, 2, tm.tm_mon) && number(text, 8, 2, tm.tm_mday) &&
        number(text, 11, 2, tm.tm_hour) && number(text, 14, 2, tm.tm_min) && number(text, 17, 2, tm.tm_sec)) ||
      text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' || tm.tm_mon < 1 ||
      tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 ||
      tm.tm_year < 1970) {
    return bad();
  }
  std::int64_t fraction = 0;
  std::size_t at = 19;
  if (at < text.size() && text[at] == '.') {
    std::size_t digits = 0;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
      if (digits < 9) fraction = fraction * 10 + (text[at] - '0');
    }
    if (digits == 0 || digits > 9) return bad();
    for (; digits < 9; ++digits) fraction *= 10;
  }
  if (at + 1 != text.size() || text[at] != 'Z') return bad();
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  const int day = tm.tm_mday;
  const std::time_t seconds = timegm(&tm);
  if (tm.tm_mday != day) return bad();  // 31 April
  if (seconds > 9'223'372'035) return bad();
  return static_cast<std::int64_t>(seconds) * 1'000'000'000 + fraction;
}

}  // namespace mc
