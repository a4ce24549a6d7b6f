// What the events of SDKs of long ago do not say, and their flag does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "flags/document.h"

namespace flagstream::transform {

// Of one flag at one revision.  Immutable, thread-safe.
class FlagRules {
 public:
  // `document`: as server-side SDKs get it.  InvalidArgument: not a JSON object.
  static Result<FlagRules> read(std::string_view document);

  bool track_events() const { return track_events_; }
  // Microseconds UTC.
  std::optional<std::int64_t> debug_until_us() const { return debug_until_us_; }
  // The first variation that is equal to the value: numbers by what they are worth, objects
  // whatever the order of their members.  nullopt: there is none.
  std::optional<std::int32_t> variation_of(std::string_view value_json) const;
  // Whether both give the same answers.
  bool equals(const FlagRules& other) const;

 private:
  std::shared_ptr<const flags::Document> variations_;  // an array
  bool track_events_ = false;
  std::optional<std::int64_t> debug_until_us_;
};

struct FlagAt {
  std::uint64_t environment_id = 0;
  std::uint64_t revision = 0;  // of the environment's configuration
  std::string_view key;
};

// Null: there was no such flag at that revision, or nobody can tell.  An error: it cannot be told
// now.  Thread-safe.
using FindRules = std::function<Result<std::shared_ptr<const FlagRules>>(const FlagAt& flag)>;

}  // namespace flagstream::transform
