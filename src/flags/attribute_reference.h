// Which attribute of a context is meant: a name, or a path like /address/city.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flagstream::flags {

// How the text of a reference is read: as an attribute's name, or as a path where it begins with
// '/'.
enum class ReferenceMode { Literal, Path };

class AttributeReference {
 public:
  struct Component {
    std::string name;
    std::uint64_t hash;
  };

  AttributeReference() = default;  // invalid
  AttributeReference(std::string_view text, ReferenceMode mode);

  // Empty, "/", an empty component, or a '~' that is neither ~0 nor ~1.
  bool is_valid() const { return !components_.empty(); }
  // The first is an attribute's name, each further one a member's name in the object before.
  const std::vector<Component>& components() const { return components_; }

 private:
  std::vector<Component> components_;
};

}  // namespace flagstream::flags
