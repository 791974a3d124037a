// A server's answer as mc-push looks at it: the listing, the problem document with its words for the terminal,
// Retry-After.
#include <algorithm>

#include "http/answer.hpp"
#include "require.hpp"
#include "upload/remote.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 2), size - 2);
  if (const auto held = mc::upload::parse_listing(text)) {
    require(static_cast<std::size_t>(std::ranges::count(text, '\n')) == held->size());
  }
  mc::http::Response answer;
  answer.status = 400 + data[0] % 200;
  answer.body = text;
  answer.headers = {{"content-type", data[1] % 4 == 0 ? text : "application/problem+json"}, {"retry-after", text}};
  require(mc::http::retry_after_ms(answer) <= 3'600'000);
  const mc::Error error = mc::http::status_error(answer, "fuzz");
  require(error.message.size() < 1000);
  require(std::ranges::none_of(error.message, [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; }));
  return 0;
}
