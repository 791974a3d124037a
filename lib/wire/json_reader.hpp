// Reading a JSON object whose members are known, with one complaint for all that is wrong with it. Private to this
// module.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/json.hpp"

namespace mc::wire {

// Each member that is asked for and is not there, or of another type, is remembered as the error; a stand-in is given.
class JsonReader {
 public:
  JsonReader(const json::object& o, ErrorKind kind, const char* what) : o_(o), kind_(kind), what_(what) {}

  std::string text(std::string_view key) {
    auto value = json::get_string(o_, key);
    if (!value) objects_to(key);
    return value.value_or("");
  }
  std::int64_t number(std::string_view key) {
    const auto value = json::get_int(o_, key);
    if (!value) objects_to(key);
    return value.value_or(0);
  }
  std::int64_t time(std::string_view key) {
    const auto value = parse_utc(text(key));
    if (!value) objects_to(key);
    return value.value_or(0);
  }
  std::optional<std::int64_t> number_if_there(std::string_view key) {
    if (!o_.contains(key)) return std::nullopt;
    return number(key);
  }
  std::vector<std::string> texts(std::string_view key) {
    std::vector<std::string> found;
    for (const json::value* value : list(key)) {
      if (!value->is_string()) objects_to(key);
      found.emplace_back(value->is_string() ? std::string(value->as_string()) : "");
    }
    return found;
  }
  std::vector<const json::object*> objects(std::string_view key) {
    std::vector<const json::object*> found;
    for (const json::value* value : list(key)) {
      if (!value->is_object()) {
        objects_to(key);
        continue;
      }
      found.push_back(&value->as_object());
    }
    return found;
  }
  template <class Enum, class Parse>
  Enum word(std::string_view key, Parse parse, Enum otherwise) {
    const auto value = parse(text(key));
    if (!value) objects_to(key);
    return value.value_or(otherwise);
  }
  const json::object* object_if_there(std::string_view key) {
    const auto* value = o_.if_contains(key);
    if (value == nullptr || value->is_null()) return nullptr;
    if (!value->is_object()) {
      objects_to(key);
      return nullptr;
    }
    return &value->as_object();
  }
  void check(bool holds, std::string_view key) {
    if (!holds) objects_to(key);
  }
  template <class T>
  void take_over(const Result<T>& part) {
    if (!part && !error_) error_ = part.error();
  }

  Status status() const {
    if (error_) return fail(*error_);
    return {};
  }

 private:
  std::vector<const json::value*> list(std::string_view key) {
    std::vector<const json::value*> found;
    const auto* value = o_.if_contains(key);
    if (value == nullptr || !value->is_array()) {
      objects_to(key);
      return found;
    }
    for (const json::value& item : value->as_array()) found.push_back(&item);
    return found;
  }
  void objects_to(std::string_view key) {
    if (!error_)
      error_ = Error{kind_, std::string(what_) + ": '" + std::string(key) + "' is not what it should be", 0, {}};
  }

  const json::object& o_;
  ErrorKind kind_;
  const char* what_;
  std::optional<Error> error_;
};

inline json::array texts_to_json(const std::vector<std::string>& texts) {
  json::array list;
  for (const std::string& text : texts) list.emplace_back(text);
  return list;
}

}  // namespace mc::wire
