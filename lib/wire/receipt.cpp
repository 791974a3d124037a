#include "wire/receipt.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/clock.hpp"

namespace mc::wire {
namespace {

constexpr std::string_view kHeader = "maycast-receipt 1\n";
constexpr std::size_t kSignatureDigits = 88;  // base64 of 64 bytes
constexpr std::size_t kFingerprintDigits = 16;

std::string encoded(const RecordingPath& path) {
  return percent_encode(path.session) + "/" + percent_encode(path.take) + "/" + percent_encode(path.guest);
}

std::optional<RecordingPath> decoded(std::string_view text) {
  const auto first = text.find('/');
  const auto last = text.rfind('/');
  if (first == std::string_view::npos || first == last) return std::nullopt;
  auto session = percent_decode(text.substr(0, first));
  auto take = percent_decode(text.substr(first + 1, last - first - 1));
  auto guest = percent_decode(text.substr(last + 1));
  if (!session || !take || !guest || !is_name(*session) || !is_take(*take) || !is_name(*guest)) return std::nullopt;
  return RecordingPath{std::move(*session), std::move(*take), std::move(*guest)};
}

bool all_of(std::string_view text, std::string_view alphabet) {
  return text.find_first_not_of(alphabet) == std::string_view::npos;
}

bool is_base64(std::string_view text, std::size_t digits, std::size_t padding) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return text.size() == digits && all_of(text.substr(0, digits - padding), kAlphabet) &&
         all_of(text.substr(digits - padding), "=");
}

// The lines one after another; the first one that is not as it should be is remembered.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  std::string_view value(std::string_view key) {
    if (!wrong_.empty()) return {};
    const auto end = rest_.find('\n');
    const std::string_view line = rest_.substr(0, end);
    if (end == std::string_view::npos || !line.starts_with(key) || line.size() <= key.size() ||
        line[key.size()] != ' ') {
      wrong_ = key;
      return {};
    }
    rest_.remove_prefix(end + 1);
    return line.substr(key.size() + 1);
  }

  std::uint64_t number(std::string_view key) {
    const std::string_view text = value(key);
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    require(error == std::errc{} && end == text.data() + text.size(), key);
    return n;
  }

  void require(bool holds, std::string_view key) {
    if (!holds && wrong_.empty()) wrong_ = key;
  }

  bool at_end() const { return rest_.empty(); }
  const std::string& wrong() const { return wrong_; }

 private:
  std::string_view rest_;
  std::string wrong_;
};

}  // namespace

std::string signed_part(const Receipt& receipt) {
  std::string text(kHeader);
  const auto line = [&text](std::string_view key, std::string_view value) {
    text.append(key).append(" ").append(value).append("\n");
  };
  line("recording", receipt.recording_id);
  line("path", encoded(receipt.path));
  line("root", receipt.root);
  line("manifest", receipt.manifest_sha256);
  line("files", std::to_string(receipt.files));
  line("chunks", std::to_string(receipt.chunks));
  line("bytes", std::to_string(receipt.bytes));
  line("time", format_utc(receipt.wall_ns));
  line("key", receipt.key_fingerprint);
  return text;
}

std::string format_receipt(const Receipt& receipt) {
  return signed_part(receipt) + "signature " + receipt.signature_base64 + "\n";
}

Result<Receipt> parse_receipt(std::string_view text) {
  if (!text.starts_with(kHeader)) return fail(ErrorKind::damaged, "not a receipt: the first line is another");
  Lines lines(text.substr(kHeader.size()));
  Receipt receipt;
  receipt.recording_id = lines.value("recording");
  lines.require(is_recording_id(receipt.recording_id), "recording");
  auto path = decoded(lines.value("path"));
  lines.require(path.has_value(), "path");
  if (path) receipt.path = std::move(*path);
  receipt.root = lines.value("root");
  lines.require(is_sha256_hex(receipt.root), "root");
  receipt.manifest_sha256 = lines.value("manifest");
  lines.require(is_sha256_hex(receipt.manifest_sha256), "manifest");
  receipt.files = lines.number("files");
  receipt.chunks = lines.number("chunks");
  receipt.bytes = lines.number("bytes");
  const auto time = parse_utc(lines.value("time"));
  lines.require(time.has_value(), "time");
  if (time) receipt.wall_ns = *time;
  receipt.key_fingerprint = lines.value("key");
  lines.require(
      receipt.key_fingerprint.size() == kFingerprintDigits && all_of(receipt.key_fingerprint, "0123456789abcdef"),
      "key");
  receipt.signature_base64 = lines.value("signature");
  lines.require(is_base64(receipt.signature_base64, kSignatureDigits, 2), "signature");
  if (!lines.wrong().empty()) return fail(ErrorKind::damaged, "bad receipt: wrong line '" + lines.wrong() + "'");
  // One spelling only: a number with a leading zero, a time with fewer digits, another escape would be signed text
  // that we could not write again.
  if (!lines.at_end() || format_receipt(receipt) != text) {
    return fail(ErrorKind::damaged, "bad receipt: not in its one spelling");
  }
  return receipt;
}

}  // namespace mc::wire
