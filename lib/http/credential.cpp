#include "http/credential.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "sys/fd.hpp"

namespace mc::http {
namespace {

constexpr std::size_t kMaxTokenBytes = 16 * 1024;

// RFC 6750 2.1: b64token. Anything else could end the header line and begin another one.
bool is_token_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("-._~+/=").find(c) != std::string_view::npos;
}

// By hand, because it may also be a pipe: --token-file <(command). That one must not hold up those who read it again.
Result<std::string> read_token(const std::string& path, int more_flags) {
  const auto failed = [&] { return fail(sys::errno_error(errno, "cannot read the token file '" + path + "'")); };
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | more_flags));
  if (!fd.valid()) return failed();
  std::string text;
  std::array<char, 4096> piece{};
  for (;;) {
    const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    if (n == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(n));
    if (text.size() > kMaxTokenBytes) break;
  }
  const auto first = text.find_first_not_of(" \t\r\n");
  const auto last = text.find_last_not_of(" \t\r\n");
  if (first == std::string::npos) return fail(ErrorKind::config, "the token file '" + path + "' is empty");
  std::string token = text.substr(first, last - first + 1);
  if (token.size() > kMaxTokenBytes || !std::ranges::all_of(token, is_token_character)) {
    return fail(ErrorKind::config, "there is no token in the token file '" + path + "'");
  }
  return token;
}

}  // namespace

Result<std::shared_ptr<Credential>> Credential::open(std::string path) {
  auto token = read_token(path, 0);
  if (!token) {
    token.error().kind = ErrorKind::config;
    return fail(std::move(token).error());
  }
  return std::shared_ptr<Credential>(new Credential(std::move(path), std::move(*token)));
}

std::string Credential::token() const {
  const std::lock_guard lock(mutex_);
  return token_;
}

std::optional<std::string> Credential::other_than(const std::string& refused) {
  const std::lock_guard lock(mutex_);
  if (token_ != refused) return token_;  // another thread was faster
  auto now = read_token(path_, O_NONBLOCK);
  if (!now) {
    fault_ = std::move(now).error();
    return std::nullopt;
  }
  fault_.reset();
  if (*now == refused) return std::nullopt;
  token_ = std::move(*now);
  return token_;
}

std::optional<Error> Credential::fault() const {
  const std::lock_guard lock(mutex_);
  return fault_;
}

Result<std::shared_ptr<Credential>> find_credential(const std::string& option) {
  if (!option.empty()) return Credential::open(option);
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string path = variable("MC_TOKEN_FILE"); !path.empty()) return Credential::open(path);
  if (const std::string directory = variable("CREDENTIALS_DIRECTORY"); !directory.empty()) {
    const std::string path = directory + "/mc-token";
    if (::access(path.c_str(), F_OK) == 0) return Credential::open(path);
  }
  return std::shared_ptr<Credential>();
}

}  // namespace mc::http
