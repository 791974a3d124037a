#include "server/secret_file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "base/clock.hpp"
#include "digest/sha256.hpp"
#include "sys/private_file.hpp"
#include "wire/names.hpp"

namespace mc::server {
namespace {

constexpr std::uint64_t kMaxSecretFileBytes = 1U << 20;
constexpr std::size_t kMinSecretBytes = 32;  // RFC 7518 3.2: a key of at least the size of the hash
constexpr std::size_t kMaxSecretBytes = 1024;
constexpr std::size_t kNewSecretBytes = 32;
// As in store/file_store.cpp: the kernel's time stamps are no finer.
constexpr std::int64_t kTokenGranularityNs = 50'000'000;

tl::unexpected<Error> bad_line(std::size_t number, const char* what) {
  return fail(ErrorKind::config, "line " + std::to_string(number) + " " + what);
}

bool is_secret(std::string_view line) {
  return line.size() >= kMinSecretBytes && line.size() <= kMaxSecretBytes &&
         std::ranges::all_of(line, [](char c) { return c > ' ' && c < 0x7F; });
}

struct EpochLine {
  std::uint64_t epoch = 0;
  std::string session;  // empty: all
};
std::optional<EpochLine> parse_epoch(std::string_view line) {
  constexpr std::string_view kKeyword = "min-epoch ";
  if (!line.starts_with(kKeyword)) return std::nullopt;
  line.remove_prefix(kKeyword.size());
  EpochLine parsed;
  const auto blank = std::min(line.find(' '), line.size());
  const auto [end, ec] = std::from_chars(line.data(), line.data() + blank, parsed.epoch);
  if (blank == 0 || ec != std::errc{} || end != line.data() + blank || parsed.epoch > INT64_MAX) return std::nullopt;
  if (blank == line.size()) return parsed;
  parsed.session = line.substr(blank + 1);
  if (!wire::is_name(parsed.session)) return std::nullopt;
  return parsed;
}

}  // namespace

std::uint64_t Secret::min_epoch_for(const std::string& session) const {
  const auto found = min_epoch_of_session.find(session);
  return found == min_epoch_of_session.end() ? min_epoch : std::max(min_epoch, found->second);
}

Result<Secret> parse_secret(std::string_view text) {
  Secret secret;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    if (secret.key.empty()) {
      if (!is_secret(line)) return bad_line(number, "is no secret of 32 to 1024 printable characters without blanks");
      secret.key = line;
      continue;
    }
    const auto parsed = parse_epoch(line);
    if (!parsed) return bad_line(number, "is not 'min-epoch NUMBER' or 'min-epoch NUMBER SESSION'");
    std::uint64_t& held = parsed->session.empty() ? secret.min_epoch : secret.min_epoch_of_session[parsed->session];
    held = std::max(held, parsed->epoch);
  }
  if (secret.key.empty()) return fail(ErrorKind::config, "there is no secret in it");
  return secret;
}

Result<Secret> load_secret(sys::FileSystem& fs, const std::string& path, SecretMode mode) {
  const auto load = [&]() -> Result<Secret> {
    MC_TRY_ASSIGN(const ByteBuffer bytes, sys::read_file(fs, path, kMaxSecretFileBytes));
    if (mode == SecretMode::owner_only && sys::others_can_read(path)) return fail(sys::readable_by_others("it"));
    return parse_secret(as_text(bytes));
  };
  auto secret = load();
  if (!secret) return fail(std::move(secret).error().within("cannot use the secret file '" + path + "'"));
  return secret;
}

SecretVersion secret_version(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return {};
  const std::int64_t changed_ns = std::int64_t{st.st_ctim.tv_sec} * 1'000'000'000 + st.st_ctim.tv_nsec;
  return {std::to_string(st.st_ino) + ":" + std::to_string(changed_ns) + ":" + std::to_string(st.st_size),
          system_clock().wall_ns() - changed_ns > kTokenGranularityNs};
}

Status make_secret(sys::FileSystem& fs, const std::string& path) {
  MC_TRY_ASSIGN(const ByteBuffer random, digest::random_bytes(kNewSecretBytes));
  Status made = sys::publish_new_private(fs, path, digest::to_hex(random) + "\n");
  if (!made && made.error().sys_errno == EEXIST) {
    return fail(Error{ErrorKind::no_space, "'" + path + "' is there already", EEXIST,
                      "a new secret makes every token worthless; move the old file away to have one"});
  }
  return made;
}

}  // namespace mc::server
