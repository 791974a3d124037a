// Everything that a peer's answer or header goes through: it must end in a value or an error, and a value must be one
// that we would write ourselves.
#include "require.hpp"
#include "wire/protocol.hpp"
#include "wire/receipt.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mc::wire;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 6) {
    case 0:
      if (const auto digest = parse_digest(text)) require(parse_digest(format_digest(*digest)) == digest);
      break;
    case 1:
      if (const auto file = parse_held_file(text)) require(parse_held_file(format_held_file(*file)).value() == *file);
      break;
    case 2:
      if (const auto answer = parse_audit_answer(text)) {
        require(!answer->synced || (answer->closed && answer->faults.empty() && !answer->receipt.empty()));
        require(parse_audit_answer(format_audit_answer(*answer)).value() == *answer);
      }
      break;
    case 3:
      if (const auto problem = parse_problem(text)) (void)format_problem(*problem);
      break;
    case 4:
      if (const auto receipt = parse_receipt(text)) require(format_receipt(*receipt) == text);
      break;
    default:
      if (const auto decoded = percent_decode(text)) require(percent_decode(percent_encode(*decoded)) == decoded);
      if (is_name(text) && text.size() < 50) {
        const RecordingPath path{std::string(text), "001", std::string(text)};
        require(file_target(path, "manifest").find_first_of(" \r\n?#") == std::string::npos);
      }
  }
  return 0;
}
