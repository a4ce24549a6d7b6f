// Identities.  128-bit random ids (log ids, receipt ids) and the immutable 64-bit numbers of
// projects and environments.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace flagstream {

struct Id128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  // From the kernel's random source; ends the process if that fails.
  static Id128 random();
  // Exactly 32 lower-case or upper-case hex digits, else nullopt.
  static std::optional<Id128> from_hex(std::string_view text);
  // 16 bytes, big-endian; nullopt for any other size.
  static std::optional<Id128> from_bytes(std::string_view bytes);

  bool is_zero() const { return high == 0 && low == 0; }
  std::string to_hex() const;    // 32 lower-case digits
  std::string to_bytes() const;  // 16 bytes, big-endian
  friend auto operator<=>(const Id128&, const Id128&) = default;
};

// Fills with bytes from the kernel's random source; ends the process if that fails.
void random_bytes(void* out, std::size_t size);
// `digits` random lower-case hex digits.
std::string random_hex(std::size_t digits);
// A random version 4 UUID in its usual text form.
std::string random_uuid();

enum class EnvironmentId : std::uint64_t {};
enum class ProjectId : std::uint64_t {};
constexpr std::uint64_t to_number(EnvironmentId id) { return static_cast<std::uint64_t>(id); }
constexpr std::uint64_t to_number(ProjectId id) { return static_cast<std::uint64_t>(id); }

}  // namespace flagstream

template <>
struct std::hash<flagstream::Id128> {
  std::size_t operator()(const flagstream::Id128& id) const noexcept {
    return id.low ^ (id.high * 0x9e3779b97f4a7c15ULL);
  }
};
