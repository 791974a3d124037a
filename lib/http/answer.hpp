// What an HTTP status that is not 2xx means for the caller, in the server's own words.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/client.hpp"
#include "wire/protocol.hpp"

namespace mc::http {

// The problem document of an answer (RFC 9457), when it has one.
std::optional<wire::Problem> problem_of(const Response& response);

// "title: detail", for a terminal: one line, no control characters, bounded.
std::string words_of(const wire::Problem& problem);

// Kinds: unavailable (408, 425, 429 and 5xx, 507 with them; but not 501 and 505), permission (401, 403, 407),
// refused (every other 4xx, 501, 505), protocol (1xx and 3xx: nothing that we asked for). The message is
// "cannot WHAT: the server answered 409 (title: detail)".
Error status_error(const Response& response, std::string_view what);

// Retry-After in milliseconds (only the form in seconds; RFC 9110 10.2.3), at most an hour; 0 when there is none.
std::uint32_t retry_after_ms(const Response& response);

}  // namespace mc::http
