// A request and a response as the service sees them: no sockets, no Beast, so that everything but the transport is
// tested by plain calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/store.hpp"
#include "wire/protocol.hpp"

namespace mc::server {

// The header fields that anything here looks at. A field given on several lines is joined with ", " (RFC 9110 5.3).
struct RequestHeaders {
  std::optional<std::string> authorization;  // never in a message or a log
  std::optional<std::string> recording;      // Maycast-Recording
  std::optional<std::string> repr_digest, content_digest;
  std::optional<std::string> content_encoding, content_range;
  std::optional<std::string> range, if_range, if_none_match;
  std::optional<std::string> content_type, upload_offset, upload_complete;
  std::optional<std::string> idempotency_key, upgrade;
};

struct Request {
  std::string method;
  std::string target;  // as on the wire
  RequestHeaders headers;
  std::string remote = {};  // the peer, for logs
};

// Bytes [first, first + length) of an object, sent as the body. They are read while they are sent.
struct ObjectBody {
  std::unique_ptr<store::Object> object;
  std::uint64_t first = 0;
  std::uint64_t length = 0;
};

struct Response {
  int status = 500;
  std::vector<std::pair<std::string, std::string>> headers;  // besides Content-Length, Date, Server, Connection
  std::string body;
  std::optional<ObjectBody> object;  // instead of `body`
};

Response text_response(int status, std::string content_type, std::string body);
// RFC 9457. `type` is one of the words of mc-protocol(7).
Response problem(int status, std::string type, std::string title, std::string detail = {});
Response not_found(std::string detail);
bool is_full(const Error& error);  // the store is, or a quota
// An error of the store or of ourselves: 507 when the store is full, 503 when trying again may help, else 500. Never
// tells a path of this machine: the details are for the log.
Response store_problem(const Error& error);
const char* reason_phrase(int status);

}  // namespace mc::server
