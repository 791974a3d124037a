#include "server/conditional.hpp"

#include <algorithm>
#include <charconv>

namespace mc::server {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // A number too large for 64 bits lies behind every file.
  if (error == std::errc::result_out_of_range && end == text.data() + text.size()) return UINT64_MAX;
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Our tags are hexadecimal digits, so splitting at commas is exact wherever it matters.
bool lists_tag(std::string_view list, std::string_view etag) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    std::string_view item = trimmed(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    if (item == "*") return true;
    if (item.starts_with("W/")) item.remove_prefix(2);  // If-None-Match compares weakly (RFC 9110 13.1.2)
    if (item == etag) return true;
  }
  return false;
}

// Nothing: ignore the header. A length of 0: not satisfiable.
std::optional<Selection> select_range(std::string_view range, std::uint64_t size_bytes) {
  constexpr std::string_view kUnit = "bytes=";
  if (!range.starts_with(kUnit)) return std::nullopt;
  range = trimmed(range.substr(kUnit.size()));
  const auto dash = range.find('-');
  if (dash == std::string_view::npos || range.find(',') != std::string_view::npos) return std::nullopt;
  const std::string_view from = range.substr(0, dash);
  const std::string_view to = range.substr(dash + 1);
  if (from.empty()) {
    const auto suffix = number(to);
    if (!suffix) return std::nullopt;
    const std::uint64_t length = std::min(*suffix, size_bytes);
    return Selection{length == 0 ? 416 : 206, size_bytes - length, length};
  }
  const auto first = number(from);
  const auto last = to.empty() ? std::optional<std::uint64_t>(UINT64_MAX) : number(to);
  if (!first || !last || *last < *first) return std::nullopt;
  if (*first >= size_bytes) return Selection{416, 0, 0};
  return Selection{206, *first, std::min(*last, size_bytes - 1) - *first + 1};
}

}  // namespace

std::string entity_tag(const std::string& sha256_hex) { return '"' + sha256_hex + '"'; }

Selection select(const RequestHeaders& headers, const std::string& etag, std::uint64_t size_bytes) {
  if (headers.if_none_match && lists_tag(*headers.if_none_match, etag)) return {304, 0, 0};
  const Selection whole{200, 0, size_bytes};
  if (!headers.range) return whole;
  // If-Range compares strongly, and a date (which we never gave) is no tag of ours (RFC 9110 13.1.5).
  if (headers.if_range && trimmed(*headers.if_range) != etag) return whole;
  return select_range(trimmed(*headers.range), size_bytes).value_or(whole);
}

Response selected_response(const Selection& selection, const std::string& etag, std::uint64_t size_bytes,
                           const std::string& content_type) {
  if (selection.status == 416) {
    Response response = problem(416, "range", "the range lies behind the end");
    response.headers.emplace_back("Content-Range", "bytes */" + std::to_string(size_bytes));
    return response;
  }
  Response response;
  response.status = selection.status;
  response.headers = {{"ETag", etag}, {"Accept-Ranges", "bytes"}};
  if (selection.status == 304) return response;
  response.headers.emplace_back("Content-Type", content_type);
  if (selection.status == 206) {
    response.headers.emplace_back("Content-Range", "bytes " + std::to_string(selection.first) + "-" +
                                                       std::to_string(selection.first + selection.length - 1) + "/" +
                                                       std::to_string(size_bytes));
  }
  return response;
}

}  // namespace mc::server
