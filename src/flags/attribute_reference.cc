#include "flags/attribute_reference.h"

#include <algorithm>
#include <optional>

#include "flags/key_set.h"

namespace flagstream::flags {
namespace {

std::optional<std::string> unescaped(std::string_view component) {
  std::string out;
  for (std::size_t i = 0; i < component.size(); ++i) {
    if (component[i] != '~') {
      out += component[i];
      continue;
    }
    ++i;
    if (i == component.size() || (component[i] != '0' && component[i] != '1')) return std::nullopt;
    out += component[i] == '0' ? '~' : '/';
  }
  if (out.empty()) return std::nullopt;
  return out;
}

}  // namespace

AttributeReference::AttributeReference(std::string_view text, ReferenceMode mode) {
  const auto add = [this](std::string name) {
    const std::uint64_t hash = hash_of(name);
    components_.push_back({std::move(name), hash});
  };
  if (text.empty()) return;
  if (mode == ReferenceMode::Literal || text.front() != '/') {
    add(std::string(text));
    return;
  }
  for (std::size_t begin = 1; begin <= text.size();) {
    const std::size_t slash = std::min(text.find('/', begin), text.size());
    auto name = unescaped(text.substr(begin, slash - begin));
    if (!name) {
      components_.clear();
      return;
    }
    add(*std::move(name));
    begin = slash + 1;
  }
}

}  // namespace flagstream::flags
