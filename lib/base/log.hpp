// Where library code says something to a person. Libraries never print: they are handed a Log, which the tool
// implements (cli::stderr_log). A Log may be called from any thread.
#pragma once

#include <functional>
#include <string_view>

namespace mc {

enum class LogLevel { debug, info, warning, error };

using Log = std::function<void(LogLevel, std::string_view)>;

inline Log no_log() {
  return [](LogLevel, std::string_view) {};
}

}  // namespace mc
