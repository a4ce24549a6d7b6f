#include "transform/flag_rules.h"

#include <cmath>
#include <string>

#include "base/clock.h"

namespace flagstream::transform {
namespace {

using flags::Node;
using flags::NodeType;

constexpr double kMillisMax = 9e15;  // in microseconds still within 64 bits

bool are_equal(const Node& a, const Node& b);

bool have_equal_elements(const Node& a, const Node& b) {
  const flags::Elements left(a);
  const flags::Elements right(b);
  auto other = right.begin();
  for (const Node& element : left) {
    if (other == right.end() || !are_equal(element, *other)) return false;
    ++other;
  }
  return other == right.end();
}

// An object that repeats a name has more nodes than one that does not.
bool have_equal_members(const Node& a, const Node& b) {
  if (a.span != b.span) return false;
  for (const flags::Member each : flags::Members(a)) {
    const Node* const other = flags::find(b, each.name);
    if (other == nullptr || !are_equal(each.value, *other)) return false;
  }
  for (const flags::Member each : flags::Members(b)) {
    if (flags::find(a, each.name) == nullptr) return false;
  }
  return true;
}

bool are_equal(const Node& a, const Node& b) {
  if (a.type != b.type) return false;
  switch (a.type) {
    case NodeType::Null:
      return true;
    case NodeType::Bool:
      return a.boolean == b.boolean;
    case NodeType::Number:
      return a.number == b.number;
    case NodeType::String:
      return a.text == b.text;
    case NodeType::Array:
      return have_equal_elements(a, b);
    case NodeType::Object:
      return have_equal_members(a, b);
  }
  return false;
}

}  // namespace

Result<FlagRules> FlagRules::read(std::string_view document) {
  FS_TRY(const auto flag, flags::Document::parse(document));
  const Node& root = flag->root();
  if (root.type != NodeType::Object)
    return fail(ErrorKind::InvalidArgument, "a flag is a JSON object");
  FlagRules rules;
  rules.track_events_ = flags::member(root, "trackEvents").boolean;
  const Node& until = flags::member(root, "debugEventsUntilDate");
  if (until.type == NodeType::Number && std::abs(until.number) < kMillisMax)
    rules.debug_until_us_ = static_cast<std::int64_t>(until.number) * kMicrosPerMilli;
  const Node& variations = flags::member(root, "variations");
  const bool is_array = variations.type == NodeType::Array;
  FS_TRY(rules.variations_, flags::Document::parse(is_array ? variations.source : "[]"));
  return rules;
}

std::optional<std::int32_t> FlagRules::variation_of(std::string_view value_json) const {
  // SDKs leave a null out.
  const auto value = flags::Document::parse(value_json.empty() ? "null" : value_json);
  if (!value) return std::nullopt;
  std::int32_t index = 0;
  for (const Node& variation : flags::Elements(variations_->root())) {
    if (are_equal(variation, (*value)->root())) return index;
    ++index;
  }
  return std::nullopt;
}

bool FlagRules::equals(const FlagRules& other) const {
  return track_events_ == other.track_events_ && debug_until_us_ == other.debug_until_us_ &&
         variations_->root().source == other.variations_->root().source;
}

}  // namespace flagstream::transform
