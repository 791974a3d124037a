// JSON for every module: Boost.JSON under the name mc::json. Text from outside is parsed with limits and never throws.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace mc::json {

using boost::json::array;
using boost::json::object;
using boost::json::value;

// One JSON document, at most 32 levels deep. Kind: damaged.
Result<value> parse(std::string_view text);
// The same, and it must be an object.
Result<object> parse_object(std::string_view text);
std::string to_text(const value& document);

// Members of `o`, or nothing when the member is absent or of another type.
std::optional<std::string> get_string(const object& o, std::string_view key);
std::optional<std::int64_t> get_int(const object& o, std::string_view key);
std::optional<bool> get_bool(const object& o, std::string_view key);

}  // namespace mc::json
