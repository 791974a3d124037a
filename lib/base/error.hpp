// Errors as values.
//
// Every function that can fail returns Result<T>. An Error says what failed, on what and why (`message`), and what
// the caller should do about it (`kind`). Context is added on the way up with `Error::within`; only `mc::cli` turns
// an Error into text for a person and an exit code. Only ErrorKind::unavailable may be retried blindly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace mc {

enum class ErrorKind : std::uint8_t {
  usage,        // the command line is wrong; exit 64
  damaged,      // data is not what its format or its hash says; exit 65
  not_found,    // an input does not exist; exit 66
  refused,      // the other side said no for good; exit 69
  bug,          // an invariant of ours does not hold; exit 70
  no_space,     // cannot create, or no room; exit 73
  io,           // input/output failed; exit 74
  unavailable,  // try again later; exit 75
  protocol,     // the other side does not speak the protocol; exit 76
  permission,   // not allowed; exit 77
  config,       // the configuration is wrong; exit 78
};

struct [[nodiscard]] Error {
  ErrorKind kind = ErrorKind::bug;
  std::string message;  // lower case, no full stop: "cannot open 'x': no such file or directory"
  int sys_errno = 0;    // the errno behind it, or 0
  std::string hint;     // what the person could do, or empty

  // The same error with what was being done in front: "cannot publish 'y': " + message.
  Error within(std::string_view context) && {
    message.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }
  Error with_hint(std::string_view text) && {
    hint = text;
    return std::move(*this);
  }
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// `return fail(ErrorKind::damaged, "…")` from any function that returns a Result.
inline tl::unexpected<Error> fail(ErrorKind kind, std::string message, int sys_errno = 0) {
  return tl::unexpected<Error>(Error{kind, std::move(message), sys_errno, {}});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

const char* name(ErrorKind kind);

}  // namespace mc

// MC_TRY(expr): leaves the function with the error of `expr`, a Result whose value is not wanted.
// MC_TRY_ASSIGN(var, expr): the same, and declares `var` with the value.
#define MC_CONCAT_IMPL(a, b) a##b
#define MC_CONCAT(a, b) MC_CONCAT_IMPL(a, b)
#define MC_TRY(expr)                                   \
  do {                                                 \
    if (auto mc_result = (expr); !mc_result) {         \
      return ::mc::fail(std::move(mc_result).error()); \
    }                                                  \
  } while (false)
#define MC_TRY_ASSIGN_IMPL(tmp, var, expr)             \
  auto tmp = (expr);                                   \
  if (!tmp) return ::mc::fail(std::move(tmp).error()); \
  var = std::move(*tmp)
#define MC_TRY_ASSIGN(var, expr) MC_TRY_ASSIGN_IMPL(MC_CONCAT(mc_tmp_, __LINE__), var, expr)
