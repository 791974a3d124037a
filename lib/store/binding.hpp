// Which recording a path belongs to (design section 5, "Identity"): the random id that the first PUT brought. Kept as
// the hidden file .recording (the id and a newline, put if absent); a recording that was copied into the store by
// other means is bound by its manifest.
#pragma once

#include <optional>
#include <string>

#include "store/store.hpp"

namespace mc::store {

inline constexpr char kBindingName[] = ".recording";

// The id that `path` is bound to, or nothing. Kind damaged: there is a binding, and it is no id.
Result<std::optional<std::string>> binding(Store& store, const wire::RecordingPath& path);

// Binds `path` to `recording_id` unless it is bound already. Returns the id that holds from now on, durably: the
// caller compares.
Result<std::string> bind(Store& store, const wire::RecordingPath& path, const std::string& recording_id);

}  // namespace mc::store
