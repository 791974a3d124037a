#include "http/client.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/clock.hpp"

namespace mc::http {
namespace {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

constexpr long kUploadBufferBytes = 512 * 1024;
constexpr long kMaxIdleSeconds = 50;  // servers close connections that are idle for a minute
constexpr long kReceiveBufferBytes = 256 * 1024;
constexpr std::size_t kMaxHeaders = 200;

ErrorKind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT: return ErrorKind::usage;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_CERTPROBLEM: return ErrorKind::config;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS: return ErrorKind::refused;
    case CURLE_UNSUPPORTED_PROTOCOL:  // what libcurl takes for HTTP/0.9, or a redirect out of HTTP
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_BAD_CONTENT_ENCODING: return ErrorKind::protocol;
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN: return ErrorKind::bug;
    default: return ErrorKind::unavailable;
  }
}

void initialize_library() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// libcurl's own words, as the end of one of our lines.
std::string curl_words(CURLcode code, const char* buffer) {
  if (code == CURLE_SEND_FAIL_REWIND) return "the connection broke before the answer";  // on_seek, not a person's word
  std::string words = buffer[0] != '\0' ? buffer : curl_easy_strerror(code);
  while (!words.empty() && (words.back() == '\n' || words.back() == '.')) words.pop_back();
  if (words.size() > 1 && words[1] >= 'a' && words[1] <= 'z') words.replace(0, 1, lower_case(words.substr(0, 1)));
  return words;
}

// What the callbacks of one transfer work on.
struct Transfer {
  const Request& request;
  CURL* easy;
  const ClientOptions& options;
  Response response;
  std::uint64_t body_offset = 0;
  std::optional<Error> failed;  // ours, not libcurl's
  bool is_paused = false;       // by the limit
  std::int64_t sent_ns = 0;     // when all of the request was sent

  bool has_body() const { return !std::holds_alternative<std::monostate>(request.body); }
  std::uint64_t body_size() const {
    if (const auto* memory = std::get_if<ByteView>(&request.body)) return memory->size();
    if (const auto* file = std::get_if<FileBody>(&request.body)) return file->size_bytes;
    return 0;
  }

  void set_stall_timeout(std::int64_t seconds) const {
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(seconds));
  }
  void await_answer() {
    sent_ns = system_clock().monotonic_ns();
    if (request.answer_timeout_s > 0) set_stall_timeout(request.answer_timeout_s);
  }
  // libcurl counts from when the last byte moved, which was before the answer was awaited, and notices only once a
  // second that there are new ones.
  void answer_began() const {
    const std::int64_t waited_ns = sent_ns > 0 ? system_clock().monotonic_ns() - sent_ns : 0;
    set_stall_timeout(options.stall_timeout_s + waited_ns / 1'000'000'000);
  }
};

std::size_t on_read(char* into, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::uint64_t left = transfer.body_size() - transfer.body_offset;
  auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, size * count));
  if (wanted == 0) return 0;
  if (RateLimit* limit = transfer.options.send_limit.get()) {
    wanted = limit->take(wanted, system_clock().monotonic_ns());
    transfer.is_paused = wanted == 0;
    if (transfer.is_paused) return CURL_READFUNC_PAUSE;
  }
  if (const auto* memory = std::get_if<ByteView>(&transfer.request.body)) {
    std::memcpy(into, memory->data() + transfer.body_offset, wanted);
  } else {
    const auto& body = std::get<FileBody>(transfer.request.body);
    const auto n =
        body.file->read_at(body.offset_bytes + transfer.body_offset, {reinterpret_cast<std::uint8_t*>(into), wanted});
    if (!n || *n != wanted) {
      transfer.failed = n ? Error{ErrorKind::damaged, "the file became shorter while it was sent", 0, {}} : n.error();
      return CURL_READFUNC_ABORT;
    }
  }
  transfer.body_offset += wanted;
  if (transfer.body_offset == transfer.body_size()) transfer.await_answer();
  return wanted;
}

// libcurl goes back to the start on a redirect, and when a kept-alive connection turns out to be dead. In the latter
// case the server may have a part of it, or all of it: the caller wants to ask.
int on_seek(void* user, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<Transfer*>(user);
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  if (status == 0 && transfer.body_offset > 0) return CURL_SEEKFUNC_FAIL;
  if (origin != SEEK_SET || offset < 0 || static_cast<std::uint64_t>(offset) > transfer.body_size()) {
    return CURL_SEEKFUNC_CANTSEEK;
  }
  transfer.body_offset = static_cast<std::uint64_t>(offset);
  transfer.set_stall_timeout(transfer.options.stall_timeout_s);
  return CURL_SEEKFUNC_OK;
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t n = size * count;
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  if (transfer.request.sink && status >= 200 && status < 300) {
    if (auto taken = transfer.request.sink(as_bytes({data, n})); !taken) {
      transfer.failed = std::move(taken).error();
      return CURL_WRITEFUNC_ERROR;
    }
    return n;
  }
  if (transfer.response.body.size() + n > transfer.request.body_limit_bytes) {
    transfer.failed = Error{ErrorKind::protocol, "the server's answer is too long", 0, {}};
    return CURL_WRITEFUNC_ERROR;
  }
  transfer.response.body.append(data, n);
  return n;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {  // a 100 or a redirect came before: its headers are not the answer's
    transfer.response.headers.clear();
    if (line.find(" 1") != line.find(' ')) transfer.answer_began();
    // "See Other" is to be fetched: what that answers says nothing about the upload (RFC 9110 15.4.4).
    if (transfer.has_body() && line.find(" 303") == line.find(' ')) {
      transfer.failed = Error{ErrorKind::protocol, "the server answered an upload with 303", 0, {}};
      return 0;
    }
  } else if (const auto colon = line.find(':');
             colon != std::string_view::npos && transfer.response.headers.size() < kMaxHeaders) {
    transfer.response.headers.emplace_back(lower_case(line.substr(0, colon)),
                                           std::string(trimmed(line.substr(colon + 1))));
  }
  return line.size();
}

}  // namespace

struct Client::Handle {
  ClientOptions options;
  // Connections live in `multi`, which therefore goes last.
  std::unique_ptr<CURLM, MultiDeleter> multi;
  std::unique_ptr<CURL, EasyDeleter> easy;

  CURLcode configure(Transfer& transfer, curl_slist* headers, char* error_buffer) const {
    CURL* e = easy.get();
    const Request& request = transfer.request;
    CURLcode code = CURLE_OK;
    const auto set = [&](CURLoption option, auto value) {
      if (code == CURLE_OK) code = curl_easy_setopt(e, option, value);
    };
    set(CURLOPT_ERRORBUFFER, error_buffer);
    set(CURLOPT_URL, request.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, request.url.starts_with("https:") ? "https" : "http,https");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, options.user_agent.c_str());
    set(CURLOPT_HTTPHEADER, headers);
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout_ms));
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout_s));
    if (transfer.body_size() == 0) transfer.await_answer();
    set(CURLOPT_MAXAGE_CONN, kMaxIdleSeconds);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_TCP_KEEPIDLE, 20L);
    set(CURLOPT_TCP_KEEPINTVL, 10L);
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, 8L);
    set(CURLOPT_BUFFERSIZE, kReceiveBufferBytes);
    set(CURLOPT_WRITEFUNCTION, on_body);
    set(CURLOPT_WRITEDATA, &transfer);
    set(CURLOPT_HEADERFUNCTION, on_header);
    set(CURLOPT_HEADERDATA, &transfer);
    if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
    if (request.method == "HEAD") {
      set(CURLOPT_NOBODY, 1L);
    } else if (request.method == "PUT" || request.method == "PATCH" || request.method == "POST") {
      set(CURLOPT_UPLOAD, 1L);
      if (request.method != "PUT") set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
      set(CURLOPT_UPLOAD_BUFFERSIZE, kUploadBufferBytes);
      set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(transfer.body_size()));
      set(CURLOPT_READFUNCTION, on_read);
      set(CURLOPT_READDATA, &transfer);
      set(CURLOPT_SEEKFUNCTION, on_seek);
      set(CURLOPT_SEEKDATA, &transfer);
    } else if (request.method != "GET") {
      return CURLE_BAD_FUNCTION_ARGUMENT;
    }
    return code;
  }

  // Until the transfer has ended; nothing: stopped.
  std::optional<CURLcode> drive(Transfer& transfer) const {
    for (;;) {
      int running = 0;
      if (curl_multi_perform(multi.get(), &running) != CURLM_OK) return CURLE_FAILED_INIT;
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
        if (message->msg == CURLMSG_DONE) return message->data.result;
      }
      const int poll_ms = transfer.is_paused ? static_cast<int>(RateLimit::wait_ms) : 1000;
      std::array<curl_waitfd, 1> stop{curl_waitfd{options.stop_fd, CURL_WAIT_POLLIN, 0}};
      if (curl_multi_poll(multi.get(), stop.data(), options.stop_fd >= 0 ? 1 : 0, poll_ms, nullptr) != CURLM_OK) {
        return CURLE_FAILED_INIT;
      }
      if (stop[0].revents != 0) {
#if LIBCURL_VERSION_NUM >= 0x075700  // 7.87
        // A name that is being looked up may take its half minute on its own; otherwise libcurl would wait for it.
        curl_easy_setopt(easy.get(), CURLOPT_QUICK_EXIT, 1L);
#endif
        return std::nullopt;
      }
      if (std::exchange(transfer.is_paused, false)) curl_easy_pause(easy.get(), CURLPAUSE_CONT);
    }
  }
};

std::string_view Response::header(std::string_view lower_case_name) const {
  const auto found = std::ranges::find(headers, lower_case_name, &Headers::value_type::first);
  return found == headers.end() ? std::string_view{} : std::string_view(found->second);
}

Client::Client(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Result<Client> Client::open(ClientOptions options) {
  initialize_library();
  auto handle = std::make_unique<Handle>();
  handle->options = std::move(options);
  handle->multi.reset(curl_multi_init());
  handle->easy.reset(curl_easy_init());
  if (!handle->multi || !handle->easy) return fail(ErrorKind::unavailable, "cannot set up an http client", ENOMEM);
  return Client(std::move(handle));
}

Result<Response> Client::perform(const Request& request) {
  Credential* const credential = handle_->options.credential.get();
  const std::string token = credential == nullptr ? std::string() : credential->token();
  auto answer = perform_as(request, token);
  if (answer && answer->status == 401 && credential != nullptr) {
    if (const auto other = credential->other_than(token)) return perform_as(request, *other);
  }
  return answer;
}

Result<Response> Client::perform_as(const Request& request, const std::string& token) {
  CURL* easy = handle_->easy.get();
  curl_easy_reset(easy);  // options only: connections and names stay known
  std::unique_ptr<curl_slist, ListDeleter> headers;
  const auto add_header = [&](const std::string& line) {
    if (curl_slist* longer = curl_slist_append(headers.get(), line.c_str())) {
      (void)headers.release();
      headers.reset(longer);
    }
  };
  // "Expect: 100-continue" would cost a round trip for each file.
  add_header("Expect:");
  for (const auto& [name, value] : handle_->options.headers) add_header(name + ": " + value);
  for (const auto& [name, value] : request.headers) add_header(name + ": " + value);
  // libcurl takes it for its own: it goes to no other host, port or scheme that a redirect leads to.
  if (!token.empty()) add_header("Authorization: Bearer " + token);

  std::array<char, CURL_ERROR_SIZE> words{};
  Transfer transfer{request, easy, handle_->options, {}, 0, std::nullopt};
  std::optional<CURLcode> code = handle_->configure(transfer, headers.get(), words.data());
  if (code == CURLE_OK) {
    if (curl_multi_add_handle(handle_->multi.get(), easy) != CURLM_OK) {
      return fail(ErrorKind::bug, "cannot start an http transfer");
    }
    code = handle_->drive(transfer);
    curl_multi_remove_handle(handle_->multi.get(), easy);
  }
  const std::string context = fmt::format("cannot {} '{}'", lower_case(request.method), request.url);
  if (!code) return fail(ErrorKind::unavailable, context + ": stopped", EINTR);
  if (transfer.failed) return fail(std::move(*transfer.failed).within(context));
  if (*code != CURLE_OK) {
    // After some failures (a redirect to another scheme) the handle is of no use any more; the connections are not in
    // it.
    if (CURL* fresh = curl_easy_init()) handle_->easy.reset(fresh);
    Error error{kind_of(*code), context + ": " + curl_words(*code, words.data()), 0, {}};
    if (*code == CURLE_PEER_FAILED_VERIFICATION) error.hint = "--cacert names a file with the certificate to trust";
    return fail(std::move(error));
  }
  long status = 0;
  curl_off_t sent = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  transfer.response.status = static_cast<int>(status);
  transfer.response.sent_bytes = static_cast<std::uint64_t>(sent);
  return std::move(transfer.response);
}

Result<std::string> check_base_url(std::string_view url) {
  initialize_library();
  const auto wrong = [&](std::string_view why) {
    return fail(Error{ErrorKind::usage, fmt::format("not the URL of a server: '{}': {}", url, why), 0,
                      "it looks like http://host:port or https://host"});
  };
  std::string text(url);
  const std::unique_ptr<CURLU, UrlDeleter> parsed(curl_url());
  if (const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, text.c_str(), 0); code != CURLUE_OK) {
    return wrong(lower_case(curl_url_strerror(code)));
  }
  const auto part = [&](CURLUPart which) {
    char* value = nullptr;
    if (curl_url_get(parsed.get(), which, &value, 0) != CURLUE_OK) return std::string();
    std::string copy(value);
    curl_free(value);
    return copy;
  };
  const std::string scheme = part(CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return wrong("neither http nor https");
  if (!part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty()) return wrong("has a name or password in it");
  if (!part(CURLUPART_QUERY).empty() || !part(CURLUPART_FRAGMENT).empty()) return wrong("has a query or a fragment");
  while (text.ends_with('/')) text.pop_back();
  return text;
}

}  // namespace mc::http
