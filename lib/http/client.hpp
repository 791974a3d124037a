// One HTTP connection at a time, kept alive: the only place that knows libcurl.
//
//   MC_TRY_ASSIGN(auto client, Client::open(options));
//   Request request{.method = "PUT", .url = base + target, .headers = {{"Repr-Digest", digest}}, .body = FileBody{…}};
//   MC_TRY_ASSIGN(const Response response, client.perform(request));
//   if (!response.ok()) return fail(status_error(response, "upload"));    // answer.hpp
//
// A Response is whatever the server answered, 4xx and 5xx included; an Error means that there was no (whole) answer.
// There is no total timeout: a slow link is slow, not dead. Dead is a connect that takes longer than the connect
// timeout, or a transfer on which not a byte moved for the stall timeout.
//
// Names and passwords of proxies come from the environment, as curl takes them (http_proxy, HTTPS_PROXY, NO_PROXY …).
// TLS certificates are always verified. Redirects are followed, eight at most, and from https only to https: a body is
// sent again to where 301, 302, 307 and 308 lead, while 303 to an upload is no answer. The token goes to the server of
// the URL only, never to another host, port or scheme. On 401 the credential's file is read again, and a new token is
// tried once before the caller is told.
//
// Error kinds: unavailable (name, connection, stall, torn answer: try again; with EINTR in sys_errno: stopped by
// stop_fd), refused (the certificate is not trusted), config (the CA file), usage (the URL), protocol (not HTTP), and
// whatever the body's file or the sink returned.
//
// Threads: one Client belongs to one thread at a time. stop_fd is only polled, never read or closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "http/credential.hpp"
#include "http/rate_limit.hpp"
#include "sys/file_system.hpp"

namespace mc::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct ClientOptions {
  std::string ca_file = {};  // PEM; empty: the system's store
  std::string user_agent = "maycast";
  Headers headers = {};                              // sent with every request
  std::shared_ptr<Credential> credential = nullptr;  // null: no token is sent
  std::shared_ptr<RateLimit> send_limit = nullptr;   // of bodies; shared by all clients that it is for
  std::uint32_t connect_timeout_ms = 10'000;
  std::uint32_t stall_timeout_s = 30;
  int stop_fd = -1;  // readable: the running transfer ends at once
};

struct FileBody {
  sys::File* file = nullptr;  // borrowed for the time of the call
  std::uint64_t size_bytes = 0;
  std::uint64_t offset_bytes = 0;  // of the first of them in the file
};
using Body = std::variant<std::monostate, ByteView, FileBody>;  // nothing, memory (borrowed), a file

struct Request {
  std::string method = "GET";  // GET, HEAD, PUT, PATCH, POST
  std::string url = {};
  Headers headers = {};
  Body body = {};
  // Sees the body of a 2xx answer piece by piece, as it comes; an error ends the transfer with that error. Without a
  // sink, and for other statuses, the body is collected in Response::body, up to the limit.
  std::function<Status(ByteView)> sink = {};
  std::uint64_t body_limit_bytes = 16U << 20;  // more is an error of kind protocol
  // The stall timeout while the server works on its answer: the request is out, and no head has come. 0: as otherwise.
  std::uint32_t answer_timeout_s = 0;
};

struct Response {
  int status = 0;
  Headers headers;  // of the final answer; names in lower case
  std::string body;
  std::uint64_t sent_bytes = 0;

  bool ok() const { return status >= 200 && status < 300; }
  std::string_view header(std::string_view lower_case_name) const;  // empty when absent
};

class Client {
 public:
  static Result<Client> open(ClientOptions options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  Result<Response> perform(const Request& request);

 private:
  Result<Response> perform_as(const Request& request, const std::string& token);

  struct Handle;
  explicit Client(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

// "http://host:port" and "https://host/prefix", with a slash at the end taken off. Kind: usage.
Result<std::string> check_base_url(std::string_view url);

}  // namespace mc::http
