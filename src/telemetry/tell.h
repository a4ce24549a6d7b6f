// Telemetry lines: one JSON object per line on stderr.  The message is constant, what varies goes
// into fields, so that lines can be searched and counted.  Never give a credential or a context
// attribute.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace flagstream::telemetry {

// By reader: Error, someone must act; Warn, degraded but self-healing; Info, state changes of the
// process; Debug, off unless asked for.
enum class Level { Debug, Info, Warn, Error };

struct Field {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;

  Field(std::string_view n, std::string_view v) : name(n), value(v) {}
  Field(std::string_view n, const char* v) : name(n), value(std::string_view(v)) {}
  Field(std::string_view n, const std::string& v) : name(n), value(std::string_view(v)) {}
  Field(std::string_view n, const flagstream::Error& e)
      : name(n), value(std::string_view(e.what)) {}
  Field(std::string_view n, bool v) : name(n), value(v) {}
  Field(std::string_view n, double v) : name(n), value(v) {}
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  Field(std::string_view n, T v) : name(n) {
    if constexpr (std::is_signed_v<T>)
      value = static_cast<std::int64_t>(v);
    else
      value = static_cast<std::uint64_t>(v);
  }

  std::string_view name;
  Value value;
};

// Set once at start, before threads: lines below `least` are dropped; `role` becomes a field of
// each line.
void configure(Level least, std::string_view role);
// Any thread.
void set_level(Level least);
bool is_enabled(Level level);

// Writes one line with a single write(2), so that lines of several processes do not mix.
// Thread-safe.
void tell(Level level, std::string_view message, std::initializer_list<Field> fields = {});

inline void debug(std::string_view m, std::initializer_list<Field> f = {}) {
  tell(Level::Debug, m, f);
}
inline void info(std::string_view m, std::initializer_list<Field> f = {}) {
  tell(Level::Info, m, f);
}
inline void warn(std::string_view m, std::initializer_list<Field> f = {}) {
  tell(Level::Warn, m, f);
}
inline void error(std::string_view m, std::initializer_list<Field> f = {}) {
  tell(Level::Error, m, f);
}

// The line that tell() writes, without time and newline.  For tests.
std::string format_line(Level level, std::string_view message, std::initializer_list<Field> fields);

}  // namespace flagstream::telemetry
