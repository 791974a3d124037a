#include "base/json.hpp"

namespace mc::json {

Result<value> parse(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = 32;
  boost::system::error_code ec;
  value document = boost::json::parse({text.data(), text.size()}, ec, {}, options);
  if (ec) return fail(ErrorKind::damaged, "not JSON: " + ec.message());
  return document;
}

Result<object> parse_object(std::string_view text) {
  MC_TRY_ASSIGN(value document, parse(text));
  if (!document.is_object()) return fail(ErrorKind::damaged, "not a JSON object");
  return std::move(document.as_object());
}

std::string to_text(const value& document) { return boost::json::serialize(document); }

namespace {
const value* find(const object& o, std::string_view key) { return o.if_contains({key.data(), key.size()}); }
}  // namespace

std::optional<std::string> get_string(const object& o, std::string_view key) {
  const value* v = find(o, key);
  if (v == nullptr || !v->is_string()) return std::nullopt;
  return std::string(v->as_string());
}

std::optional<std::int64_t> get_int(const object& o, std::string_view key) {
  const value* v = find(o, key);
  if (v == nullptr) return std::nullopt;
  if (v->is_int64()) return v->as_int64();
  if (v->is_uint64() && v->as_uint64() <= INT64_MAX) return static_cast<std::int64_t>(v->as_uint64());
  return std::nullopt;
}

std::optional<bool> get_bool(const object& o, std::string_view key) {
  const value* v = find(o, key);
  if (v == nullptr || !v->is_bool()) return std::nullopt;
  return v->as_bool();
}

}  // namespace mc::json
