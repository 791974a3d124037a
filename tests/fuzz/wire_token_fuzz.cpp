// A token as it comes in a header, and the claims of one whose signature held: a value or an error, and a value is one
// that we would sign ourselves.
#include "require.hpp"
#include "wire/token.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mc::wire;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto token = split_token(text)) require(format_token(token->signed_part, token->mac) == text);
  if (const auto bytes = from_base64url(text)) require(to_base64url(*bytes) == text);
  // The text as a payload: fuzzing finds no base64url of its own.
  constexpr std::string_view kHeader = R"({"alg":"HS256"})";
  for (const std::string& part :
       {std::string(text), to_base64url(mc::as_bytes(kHeader)) + "." + to_base64url(mc::as_bytes(text))}) {
    if (const auto claims = parse_claims(part)) {
      require(objection(*claims).empty());
      require(parse_claims(signed_part(*claims)).value() == *claims);
    }
  }
  return 0;
}
