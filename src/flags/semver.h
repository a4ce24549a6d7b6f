// Semantic versions (semver.org 2.0.0), with minor and patch optional.
#pragma once

#include <compare>
#include <optional>
#include <string_view>

namespace flagstream::flags {

// Numbers stay digits, so that none is too large.  Does not own its characters.
struct SemVer {
  std::string_view major;
  std::string_view minor = "0";
  std::string_view patch = "0";
  std::string_view prerelease;  // without its hyphen; empty: a release

  // nullopt: not a version; a prefix v, blanks and leading zeros make it none.
  static std::optional<SemVer> parse(std::string_view text);

  // By precedence; build metadata has none.
  std::weak_ordering operator<=>(const SemVer& other) const;
  bool operator==(const SemVer& other) const { return (*this <=> other) == 0; }
};

}  // namespace flagstream::flags
