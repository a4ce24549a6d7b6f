#include "catalog/model.h"

#include <algorithm>
#include <utility>

namespace flagstream::catalog {

std::string kind_of(const Flag& flag) {
  const auto has = [&](std::string_view value) {
    return std::any_of(flag.variations.begin(), flag.variations.end(),
                       [value](const Variation& each) { return each.value_json == value; });
  };
  return flag.variations.size() == 2 && has("true") && has("false") ? "boolean" : "multivariate";
}

std::optional<int> variation_index(const Flag& flag, std::string_view id) {
  for (std::size_t i = 0; i < flag.variations.size(); ++i) {
    if (flag.variations[i].id == id) return static_cast<int>(i);
  }
  return std::nullopt;
}

std::string_view to_string(KeyKind kind) {
  switch (kind) {
    case KeyKind::Sdk:
      return "sdk";
    case KeyKind::Mobile:
      return "mobile";
  }
  std::unreachable();
}

}  // namespace flagstream::catalog
