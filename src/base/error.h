// Failures as values.  A function that can fail returns Result<T>; FS_TRY passes a failure on to
// the caller.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace flagstream {

// Named by what the caller should do.  Mapped once to HTTP (http/error_response.h) and once to an
// exit code (app), each by an exhaustive switch.
enum class ErrorKind {
  InvalidArgument,    // malformed input; repeating it will fail again
  Unauthenticated,    // the credential is known to be wrong
  PermissionDenied,   // the credential is right but not for this
  NotFound,           // the named thing does not exist
  Conflict,           // a precondition moved (version, epoch, sequence); re-read, then retry
  TooLarge,           // the input is over a limit; a smaller one may pass
  ResourceExhausted,  // one of our limits was reached; retry later
  Unavailable,        // a dependency is down, or we are stopping; retry with back-off
  DataLoss,           // stored bytes disagree with their checksum; page someone
  Indeterminate,      // it may have happened; repeat only what is idempotent
};

// "InvalidArgument" and so on, for telemetry.
std::string_view to_string(ErrorKind kind);

struct Error {
  ErrorKind kind;
  std::string what;

  Error(ErrorKind k, std::string w) : kind(k), what(std::move(w)) {}
  // Prefixes `what` with the caller's view of the operation: "open topic flags: " + what.
  Error in(std::string_view operation) &&;
};

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

inline std::unexpected<Error> fail(ErrorKind kind, std::string what) {
  return std::unexpected<Error>(Error(kind, std::move(what)));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }

// The Error for a failed system call, from `error_number` (an errno value): ENOENT is NotFound,
// ENOSPC, EDQUOT, EMFILE and ENFILE are ResourceExhausted, EEXIST is Conflict, all else
// Unavailable.
Error error_from_errno(int error_number, std::string_view operation);

}  // namespace flagstream

#define FS_CONCAT_INNER(a, b) a##b
#define FS_CONCAT(a, b) FS_CONCAT_INNER(a, b)

// FS_TRY(auto segment, Segment::open(path));   declares, or returns the error to our caller
// FS_TRY(file.sync());                         for a Result<void>
// FS_CO_TRY(...)                               the same inside a coroutine
#define FS_TRY_2(ret, name, decl, expr)                       \
  auto name = (expr);                                         \
  if (!name) ret ::flagstream::fail(std::move(name).error()); \
  decl = *std::move(name)
#define FS_TRY_1(ret, name, expr) \
  if (auto name = (expr); !name) ret ::flagstream::fail(std::move(name).error())
#define FS_TRY_PICK(_1, _2, NAME, ...) NAME
#define FS_TRY_DECL(decl, expr) FS_TRY_2(return, FS_CONCAT(fs_result_, __COUNTER__), decl, expr)
#define FS_TRY_VOID(expr) FS_TRY_1(return, FS_CONCAT(fs_result_, __COUNTER__), expr)
#define FS_CO_TRY_DECL(decl, expr) \
  FS_TRY_2(co_return, FS_CONCAT(fs_result_, __COUNTER__), decl, expr)
#define FS_CO_TRY_VOID(expr) FS_TRY_1(co_return, FS_CONCAT(fs_result_, __COUNTER__), expr)
#define FS_TRY(...) FS_TRY_PICK(__VA_ARGS__, FS_TRY_DECL, FS_TRY_VOID)(__VA_ARGS__)
#define FS_CO_TRY(...) FS_TRY_PICK(__VA_ARGS__, FS_CO_TRY_DECL, FS_CO_TRY_VOID)(__VA_ARGS__)
