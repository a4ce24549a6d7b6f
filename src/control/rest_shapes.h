// The JSON shapes of the REST API: docs/protocols/rest.md.  Strict clients refuse an object that
// lacks a required member, so each shape always has all of them, also when they are empty.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/access.h"
#include "catalog/catalog.h"

namespace flagstream::control {

// Which environments of a flag are shown, and how.
struct FlagView {
  std::vector<std::string> environment_keys;  // empty: all
  bool with_environments = true;
  bool with_targeting =
      true;  // targets, rules, fallthrough and prerequisites; else only their summary
};

// For the names of environments, and for their order.
using Environments = std::span<const catalog::Environment>;

std::string flag_shape(const catalog::Project& project, Environments environments,
                       const catalog::Flag& flag, const FlagView& view);

std::string environment_shape(const catalog::Project& project,
                              const catalog::Environment& environment);

// {"_id","kind":"sdk" or "mobile","value","expiry"}
std::string expiring_key_shape(const catalog::ExpiringKey& key);

// How a project shows its environments: not at all, as {items,totalCount,_links}, or (in answers to
// changes) as a plain list.
enum class Expand { None, Collection, List };
std::string project_shape(const catalog::Project& project, Environments environments,
                          Expand expand);

// `members`: how many contexts a big segment includes or excludes; nullopt: not counted.
std::string segment_shape(const catalog::EnvironmentPath& in, const catalog::Segment& segment,
                          std::optional<std::int64_t> members);

// With its secret only in the answer to its creation; else `secret` is empty.
std::string token_shape(const catalog::Access::Token& token, std::string_view secret);

// A page of a list.
struct Page {
  std::string path;  // of the list, without query
  std::size_t offset = 0;
  std::size_t limit = 20;
  std::size_t total = 0;
};

// {"items":[...],"_links":{"self":..,"next":..},"totalCount":N}
std::string list_shape(std::span<const std::string> items, const Page& page);

}  // namespace flagstream::control
