#include "wire/names.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace mc::wire {
namespace {

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// `prefix` number `suffix`, the number with at least `digits` digits and no more zeros in front than that needs.
std::optional<std::uint32_t> numbered(std::string_view name, std::string_view prefix, std::string_view suffix,
                                      std::size_t digits) {
  if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix)) {
    return std::nullopt;
  }
  const std::string_view number = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  if (!is_digits(number) || number.size() < digits || (number.size() > digits && number[0] == '0')) {
    return std::nullopt;
  }
  std::uint32_t value = 0;
  const auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (ec != std::errc{} || value == 0) return std::nullopt;
  return value;
}

std::string make_numbered(const char* format, std::uint32_t number) {
  std::array<char, 40> text{};
  const int n = std::snprintf(text.data(), text.size(), format, number);
  return {text.data(), static_cast<std::size_t>(n)};
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<std::uint8_t>(text[i]);
    std::size_t length = 1;
    std::uint32_t point = lead;
    if (lead >= 0xF0 && lead < 0xF5) {
      length = 4;
      point = lead & 7U;
    } else if (lead >= 0xE0 && lead < 0xF0) {
      length = 3;
      point = lead & 15U;
    } else if (lead >= 0xC2 && lead < 0xE0) {
      length = 2;
      point = lead & 31U;
    } else if (lead >= 0x80) {
      return false;
    }
    if (i + length > text.size()) return false;
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<std::uint8_t>(text[i + k]);
      if ((next & 0xC0U) != 0x80U) return false;
      point = point << 6 | (next & 63U);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

bool is_name(std::string_view component) {
  if (component.empty() || component.size() > 100 || component[0] == '.' || !is_utf8(component)) return false;
  return std::ranges::none_of(
      component, [](char c) { return static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F || c == '/' || c == '\\'; });
}

bool is_same_or_rebound(std::string_view held, std::string_view guest) {
  if (!held.starts_with(guest)) return false;
  held.remove_prefix(guest.size());
  return held.empty() || (held.starts_with('~') && is_digits(held.substr(1)));
}

bool is_take(std::string_view component) {
  return component.size() >= 3 && component.size() <= 9 && is_digits(component) &&
         component.find_first_not_of('0') != std::string_view::npos;
}

Result<RecordingPath> parse_recording_path(std::string_view text) {
  const auto first = text.find('/');
  const auto second = first == std::string_view::npos ? first : text.find('/', first + 1);
  if (second != std::string_view::npos) {
    RecordingPath path{std::string(text.substr(0, first)), std::string(text.substr(first + 1, second - first - 1)),
                       std::string(text.substr(second + 1))};
    if (is_name(path.session) && is_take(path.take) && is_name(path.guest)) return path;
  }
  return fail(Error{ErrorKind::usage, "not the name of a recording: '" + std::string(text) + "'", 0,
                    "it is SESSION/TAKE/GUEST, as in studio-a/001/alice"});
}

bool is_recording_id(std::string_view text) { return text.size() == 32 && is_lower_hex(text); }
bool is_sha256_hex(std::string_view text) { return text.size() == 64 && is_lower_hex(text); }

std::optional<FileName> parse_file_name(std::string_view name) {
  if (name == kManifestName) return FileName{FileKind::manifest, 0, {}};
  if (const auto number = numbered(name, "init_", ".mp4", 3)) return FileName{FileKind::init, *number, {}};
  if (const auto number = numbered(name, "chunk_", ".m4s", 6)) return FileName{FileKind::chunk, *number, {}};
  constexpr std::string_view kReceipt = "receipt-";
  if (name.starts_with(kReceipt) && name.size() == kReceipt.size() + 16 && is_lower_hex(name.substr(kReceipt.size()))) {
    return FileName{FileKind::receipt, 0, std::string(name.substr(kReceipt.size()))};
  }
  return std::nullopt;
}

std::string init_name(InitNumber number) { return make_numbered("init_%03u.mp4", number.value); }
std::string chunk_name(ChunkNumber number) { return make_numbered("chunk_%06u.m4s", number.value); }
std::string receipt_name(std::string_view key_fingerprint) { return "receipt-" + std::string(key_fingerprint); }

std::string percent_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                            c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15U];
    }
  }
  return out;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

}  // namespace mc::wire
