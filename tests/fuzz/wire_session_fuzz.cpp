// What a session's peers send each other, and its document: it must end in a value or an error, and a value must be one
// that comes back when it is written again.
#include "require.hpp"
#include "wire/control.hpp"
#include "wire/join_url.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mc::wire;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 8) {
    case 0:
      if (const auto message = parse_control(text)) {
        if (!std::holds_alternative<UnknownMessage>(*message)) {
          require(parse_control(format_control(*message)).value() == *message);
        }
      }
      break;
    case 1:
      if (const auto session = parse_session(text)) {
        require(parse_session(format_session(*session)).value() == *session);
        Session next = *session;
        if (const auto refused = start_take(next, {session->created_ns, "fuzz"}, session->created_ns)) {
          require(next == *session);
        } else {
          require(next.recording() != nullptr);
        }
      }
      break;
    case 2:
      if (const auto request = parse_new_session(text)) {
        require(parse_new_session(format_new_session(*request)).value() == *request);
      }
      break;
    case 3:
      if (const auto answer = parse_session_created(text)) {
        require(parse_session_created(format_session_created(*answer)).value() == *answer);
      }
      break;
    case 4:
      if (const auto command = parse_take_command(text)) {
        require(parse_take_command(format_take_command(*command)).value() == *command);
      }
      break;
    case 5:
      if (const auto request = parse_join_request(text)) {
        require(parse_join_request(format_join_request(*request)).value() == *request);
      }
      if (const auto answer = parse_join_answer(text)) {
        require(parse_join_answer(format_join_answer(*answer)).value() == *answer);
      }
      break;
    case 6:
      if (const auto refused = parse_refused(text)) {
        const auto again = parse_refused(format_refused(*refused));
        require(again && again->state == refused->state && again->take == refused->take);
      }
      break;
    default:
      if (const auto url = parse_join_url(text)) require(parse_join_url(format_join_url(*url)).value() == *url);
      if (const auto code = parse_join_code(text)) require(parse_join_code(*code) == code);
  }
  return 0;
}
