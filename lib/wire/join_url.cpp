#include "wire/join_url.hpp"

#include <utility>

#include "wire/names.hpp"

namespace mc::wire {
namespace {

constexpr std::string_view kCodeDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kCodeLength = 8;
constexpr std::string_view kJoinPart = "/join/";

}  // namespace

std::string format_join_code(std::uint64_t forty_bits) {
  std::string text;
  for (std::size_t i = 0; i < kCodeLength; ++i) {
    if (i == kCodeLength / 2) text += '-';
    text += kCodeDigits[forty_bits >> (5 * (kCodeLength - 1 - i)) & 31];
  }
  return text;
}

std::optional<std::string> parse_join_code(std::string_view text) {
  std::uint64_t bits = 0;
  std::size_t digits = 0;
  for (char c : text) {
    if (c == '-' || c == ' ') continue;
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == 'O') c = '0';
    if (c == 'I' || c == 'L') c = '1';
    const auto digit = kCodeDigits.find(c);
    if (digit == std::string_view::npos || ++digits > kCodeLength) return std::nullopt;
    bits = bits << 5 | digit;
  }
  if (digits != kCodeLength) return std::nullopt;
  return format_join_code(bits);
}

std::string format_join_url(const JoinUrl& url) {
  std::string text =
      url.base_url + std::string(kJoinPart) + percent_encode(url.session) + "/" + percent_encode(url.guest);
  char separator = '#';
  for (const auto& [key, value] : {std::pair("code", url.code), std::pair("key", url.key)}) {
    if (value.empty()) continue;
    text += separator + std::string(key) + "=" + value;
    separator = '&';
  }
  return text;
}

Result<JoinUrl> parse_join_url(std::string_view text) {
  const auto no_join_url = [](const char* why) {
    return fail(Error{ErrorKind::usage, std::string("not a join URL: ") + why, 0,
                      "as mc-direct prints it: https://HOST/join/SESSION/GUEST#code=…"});
  };
  const auto hash = text.find('#');
  const std::string_view place = text.substr(0, hash);
  if (!place.starts_with("http://") && !place.starts_with("https://"))
    return no_join_url("it begins with no http(s)://");
  if (place.find('?') != std::string_view::npos) return no_join_url("it has a query");
  const auto last = place.rfind('/');
  const auto middle = last == std::string_view::npos || last == 0 ? last : place.rfind('/', last - 1);
  if (middle == std::string_view::npos || middle + 1 < kJoinPart.size())
    return no_join_url("no session and guest in it");
  const std::size_t join = middle + 1 - kJoinPart.size();
  if (place.substr(join, kJoinPart.size()) != kJoinPart) return no_join_url("no /join/SESSION/GUEST in it");
  JoinUrl url;
  url.base_url = std::string(place.substr(0, join));
  if (url.base_url.find("//") + 2 >= url.base_url.size()) return no_join_url("it has no host");
  url.session = percent_decode(place.substr(middle + 1, last - middle - 1)).value_or("");
  url.guest = percent_decode(place.substr(last + 1)).value_or("");
  if (!is_name(url.session) || !is_name(url.guest)) return no_join_url("session or guest is no name");
  std::string_view rest = hash == std::string_view::npos ? std::string_view{} : text.substr(hash + 1);
  while (!rest.empty()) {
    const auto end = rest.find('&');
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (part.starts_with("code=")) {
      auto code = parse_join_code(part.substr(5));
      if (!code) return no_join_url("the code is not 8 letters and digits");
      url.code = std::move(*code);
    } else if (part.starts_with("key=")) {
      url.key = std::string(part.substr(4));
      const bool is_hex = url.key.find_first_not_of("0123456789abcdef") == std::string::npos;
      if (url.key.size() != 16 || !is_hex) return no_join_url("the key is no fingerprint of 16 digits");
    }
  }
  return url;
}

}  // namespace mc::wire
