// Evaluation contexts: who or what a flag is evaluated for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "flags/attribute_reference.h"
#include "flags/document.h"
#include "flags/key_set.h"

namespace flagstream::flags {

// Whether a context of one kind may have this kind.
bool is_valid_kind(std::string_view kind);

struct Attribute {
  std::string_view name;
  const Node* value;  // may be a Null, which is as if there were no such attribute
};

// A context of one kind.
struct IndividualContext {
  Name kind;
  std::string_view key;
  std::uint64_t key_hash = 0;  // hash_of(key)
  bool is_anonymous = false;
  // In the order of their weight: of two with one name the later counts.  kind, key, name and
  // anonymous are among them.
  std::vector<Attribute> attributes;
  // Of each attribute the lower half of its name's hash: together they fit into a cache line or
  // two.
  std::vector<std::uint32_t> tags;

  // Null: the context has no such attribute, or its value is null.  No array is descended into.
  const Node* lookup(const AttributeReference& reference) const {
    const auto& components = reference.components();
    if (components.empty()) return nullptr;
    const auto& [name, hash] = components.front();
    const auto tag = static_cast<std::uint32_t>(hash);
    for (std::size_t i = tags.size(); i-- > 0;) {
      if (tags[i] != tag || !is_same(attributes[i].name, name)) continue;
      const Node* value = attributes[i].value;
      if (components.size() > 1) value = descend(reference, value);
      return value == nullptr || value->type == NodeType::Null ? nullptr : value;
    }
    return nullptr;
  }

 private:
  static const Node* descend(const AttributeReference& reference, const Node* value);
};

// A context of one or several kinds, from a context's or a legacy user's JSON.  Immutable;
// thread-safe.
class Context {
 public:
  // InvalidArgument with the reason: not JSON, or not a valid context.
  static Result<Context> parse(std::string_view json);
  // The same of a part of a larger document, which must outlive the context.
  static Result<Context> from(const Node& node);

  Context(Context&&) noexcept = default;
  Context& operator=(Context&&) noexcept = default;

  // At least one, ordered by the bytes of their kinds, each kind once.
  const std::vector<IndividualContext>& individuals() const { return individuals_; }
  bool is_multi() const { return individuals_.size() > 1; }
  // Null: there is none of that kind.
  const IndividualContext* find(const Name& kind) const {
    return kind.is_user ? user() : find_other(kind);
  }
  // The member of kind user, or null.
  const IndividualContext* user() const {
    return user_ < 0 ? nullptr : &individuals_[static_cast<std::size_t>(user_)];
  }

  // Of kind user alone the bare key, else kind:key of every kind, with % and : escaped in keys.
  std::string fully_qualified_key() const;

 private:
  friend class ContextReader;
  Context() = default;
  const IndividualContext* find_other(const Name& kind) const;

  std::unique_ptr<Document> document_;  // null if it belongs to somebody else
  std::vector<IndividualContext> individuals_;
  std::vector<Node> made_;  // values that are not in the document; never grows when pointed into
  int user_ = -1;           // index in individuals_
};

}  // namespace flagstream::flags
