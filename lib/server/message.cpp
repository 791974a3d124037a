#include "server/message.hpp"

#include <cerrno>

namespace mc::server {

Response text_response(int status, std::string content_type, std::string body) {
  return Response{status, {{"Content-Type", std::move(content_type)}}, std::move(body), std::nullopt};
}

Response problem(int status, std::string type, std::string title, std::string detail) {
  const wire::Problem document{std::move(type), status, std::move(title), std::move(detail)};
  Response response = text_response(status, "application/problem+json", wire::format_problem(document) + "\n");
  if (status == 503 || status == 507) response.headers.emplace_back("Retry-After", "2");
  return response;
}

Response not_found(std::string detail) {
  return problem(404, "not-found", "there is no such thing", std::move(detail));
}

bool is_full(const Error& error) { return error.sys_errno == ENOSPC || error.sys_errno == EDQUOT; }

Response store_problem(const Error& error) {
  if (is_full(error)) {
    return problem(507, "no-space", "the store is full", "nothing was stored; what is held is untouched");
  }
  if (error.kind == ErrorKind::unavailable) return problem(503, "unavailable", "the store is busy");
  return problem(500, "store-failed", "the store failed", std::string("kind: ") + name(error.kind));
}

const char* reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Unknown";
  }
}

}  // namespace mc::server
