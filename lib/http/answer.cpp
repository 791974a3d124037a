#include "http/answer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace mc::http {
namespace {

constexpr std::size_t kMaxWordsBytes = 300;

// The server's words go to a terminal.
std::string printable(std::string_view text) {
  std::string out(text.substr(0, kMaxWordsBytes));
  std::ranges::replace_if(
      out, [](char c) { return static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F; }, ' ');
  return out;
}

ErrorKind kind_of(int status) {
  if (status == 408 || status == 425 || status == 429) return ErrorKind::unavailable;
  if (status == 401 || status == 403 || status == 407) return ErrorKind::permission;
  if (status == 501 || status == 505) return ErrorKind::refused;
  if (status >= 500) return ErrorKind::unavailable;
  if (status >= 400) return ErrorKind::refused;
  return ErrorKind::protocol;
}

}  // namespace

std::optional<wire::Problem> problem_of(const Response& response) {
  if (!response.header("content-type").starts_with("application/problem+json")) return std::nullopt;
  return wire::parse_problem(response.body);
}

std::string words_of(const wire::Problem& problem) {
  std::string words = printable(problem.title);
  if (!problem.detail.empty()) words += (words.empty() ? "" : ": ") + printable(problem.detail);
  return words;
}

Error status_error(const Response& response, std::string_view what) {
  const auto problem = problem_of(response);
  const std::string words = problem ? words_of(*problem) : std::string();
  std::string message = fmt::format("cannot {}: the server answered {}", what, response.status);
  if (!words.empty()) message += " (" + words + ")";
  return Error{kind_of(response.status), std::move(message), 0, {}};
}

std::uint32_t retry_after_ms(const Response& response) {
  const std::string_view text = response.header("retry-after");
  std::uint32_t seconds = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || ec != std::errc{} || end != text.data() + text.size()) return 0;
  return std::min<std::uint32_t>(seconds, 3600) * 1000;
}

}  // namespace mc::http
