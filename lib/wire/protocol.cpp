#include "wire/protocol.hpp"

#include "base/json.hpp"

namespace mc::wire {
namespace {

constexpr std::string_view kProblemPrefix = "urn:maycast:problem:";
constexpr std::size_t kSha256Digits = 44;  // base64 of 32 bytes, the last a '='

bool is_sha256_base64(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return text.size() == kSha256Digits && text.back() == '=' &&
         text.substr(0, kSha256Digits - 1).find_first_not_of(kAlphabet) == std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

tl::unexpected<Error> not_ours(const char* what) {
  return fail(ErrorKind::protocol, std::string("the server's answer is no ") + what);
}

}  // namespace

std::string file_target(const RecordingPath& path, std::string_view name) {
  return "/v1/recordings/" + percent_encode(path.session) + "/" + percent_encode(path.take) + "/" +
         percent_encode(path.guest) + "/" + percent_encode(name);
}

std::string key_target(std::string_view fingerprint) { return "/v1/keys/" + percent_encode(fingerprint); }

std::string format_digest(std::string_view base64) { return "sha-256=:" + std::string(base64) + ":"; }

// A dictionary of structured fields (RFC 8941 section 3.2) whose values are byte sequences: base64 has neither comma
// nor semicolon, so splitting at them is exact for every well-formed header. A key given twice: the last one counts.
std::optional<std::string> parse_digest(std::string_view header) {
  std::optional<std::string> found;
  while (!header.empty()) {
    const auto comma = header.find(',');
    std::string_view member = trimmed(header.substr(0, comma));
    header.remove_prefix(comma == std::string_view::npos ? header.size() : comma + 1);
    constexpr std::string_view kKey = "sha-256=";
    if (!member.starts_with(kKey)) continue;
    member.remove_prefix(kKey.size());
    member = trimmed(member.substr(0, member.find(';')));
    if (member.size() != kSha256Digits + 2 || member.front() != ':' || member.back() != ':') return std::nullopt;
    member = member.substr(1, kSha256Digits);
    if (!is_sha256_base64(member)) return std::nullopt;
    found = std::string(member);
  }
  return found;
}

std::string format_held_file(const HeldFile& file) {
  json::object line;
  line["name"] = file.name;
  line["size"] = file.size_bytes;
  line["sha256"] = file.sha256;
  return json::to_text(line);
}

Result<HeldFile> parse_held_file(std::string_view text) {
  const auto line = json::parse_object(text);
  if (!line) return not_ours("listing");
  auto name = json::get_string(*line, "name");
  const auto size = json::get_int(*line, "size");
  auto sha256 = json::get_string(*line, "sha256");
  if (!name || !parse_file_name(*name) || !size || *size < 0 || !sha256 || !is_sha256_hex(*sha256)) {
    return not_ours("listing");
  }
  return HeldFile{std::move(*name), static_cast<std::uint64_t>(*size), std::move(*sha256)};
}

std::string format_audit_answer(const AuditAnswer& answer) {
  json::object document;
  document["closed"] = answer.closed;
  document["synced"] = answer.synced;
  json::array faults;
  for (const AuditFault& fault : answer.faults) {
    faults.push_back(json::object{{"name", fault.name}, {"problem", fault.problem}});
  }
  document["faults"] = std::move(faults);
  if (!answer.receipt.empty()) document["receipt"] = answer.receipt;
  return json::to_text(document);
}

Result<AuditAnswer> parse_audit_answer(std::string_view text) {
  constexpr char kWhat[] = "audit of a manifest";
  const auto document = json::parse_object(text);
  if (!document) return not_ours(kWhat);
  const auto closed = json::get_bool(*document, "closed");
  const auto synced = json::get_bool(*document, "synced");
  const json::value* faults = document->if_contains("faults");
  if (!closed || !synced || faults == nullptr || !faults->is_array()) return not_ours(kWhat);
  AuditAnswer answer{*closed, *synced, {}, json::get_string(*document, "receipt").value_or("")};
  for (const json::value& item : faults->as_array()) {
    if (!item.is_object()) return not_ours(kWhat);
    auto name = json::get_string(item.as_object(), "name");
    auto problem = json::get_string(item.as_object(), "problem");
    if (!name || !parse_file_name(*name) || !problem || problem->empty()) return not_ours(kWhat);
    answer.faults.push_back({std::move(*name), std::move(*problem)});
  }
  // "Synced" with something missing, or without the proof, is not an answer that anybody may act upon.
  if (answer.synced && (!answer.closed || !answer.faults.empty() || answer.receipt.empty())) return not_ours(kWhat);
  return answer;
}

std::string format_problem(const Problem& problem) {
  json::object document;
  document["type"] = std::string(kProblemPrefix) + problem.type;
  document["title"] = problem.title;
  document["status"] = problem.status;
  if (!problem.detail.empty()) document["detail"] = problem.detail;
  return json::to_text(document);
}

// Somebody else's problem document (a proxy's) keeps its whole URI as type, so that it never passes for one of ours.
std::optional<Problem> parse_problem(std::string_view text) {
  const auto document = json::parse_object(text);
  if (!document) return std::nullopt;
  const auto type = json::get_string(*document, "type");
  const auto title = json::get_string(*document, "title");
  if (!type && !title) return std::nullopt;
  Problem problem;
  problem.type = type.value_or("about:blank");
  if (problem.type.starts_with(kProblemPrefix)) problem.type.erase(0, kProblemPrefix.size());
  problem.title = title.value_or("");
  problem.detail = json::get_string(*document, "detail").value_or("");
  const auto status = json::get_int(*document, "status");
  if (status && *status >= 100 && *status <= 599) problem.status = static_cast<int>(*status);
  return problem;
}

}  // namespace mc::wire
