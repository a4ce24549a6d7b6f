#include "flags/context.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace flagstream::flags {

bool is_valid_kind(std::string_view kind) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !kind.empty() && kind != "kind" && kind != "multi" &&
         std::ranges::all_of(kind, is_allowed);
}

namespace {

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, "invalid context: " + std::move(what));
}

bool is_null(const Node* node) { return node == nullptr || node->type == NodeType::Null; }

bool is_array_of_strings_or_null(const Node* node) {
  if (is_null(node)) return true;
  if (node->type != NodeType::Array) return false;
  for (const Node& each : Elements(*node)) {
    if (each.type != NodeType::String) return false;
  }
  return true;
}

bool is_reserved(std::string_view name) {
  return name == "kind" || name == "key" || name == "name" || name == "anonymous" ||
         name == "_meta";
}

void append_escaped(std::string& out, std::string_view key) {
  for (const char c : key) {
    if (c == '%') {
      out += "%25";
    } else if (c == ':') {
      out += "%3A";
    } else {
      out += c;
    }
  }
}

}  // namespace

// Fills one Context; used once.
class ContextReader {
 public:
  explicit ContextReader(Context& context) : context_(context) {}

  Result<void> read(const Node& node) {
    if (node.type != NodeType::Object) return invalid("it is not an object");
    std::size_t members = 0;
    for ([[maybe_unused]] const auto& member : Members(node)) ++members;
    const Node* kind = find(node, "kind");
    const bool is_multi = kind != nullptr && kind->text == "multi";
    context_.made_.reserve(kMadeForEach * (is_multi ? members : 1));
    context_.individuals_.reserve(is_multi ? members : 1);
    if (kind == nullptr) {
      FS_TRY(read_legacy_user(node));
    } else if (kind->type != NodeType::String || kind->text.empty()) {
      return invalid("kind is not a string with characters");
    } else if (is_multi) {
      FS_TRY(read_multi(node));
    } else {
      FS_TRY(read_single(node, kind->text));
    }
    auto& all = context_.individuals_;
    std::ranges::sort(all, {}, [](const IndividualContext& each) { return each.kind.text; });
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i > 0 && all[i].kind == all[i - 1].kind)
        return invalid(fmt::format("kind {} is there twice", all[i].kind.text));
      if (all[i].kind.text == kUserKind) context_.user_ = static_cast<int>(i);
    }
    return {};
  }

 private:
  static constexpr std::size_t kMadeForEach = 2;  // kind and anonymous
  static constexpr std::size_t kBuiltIn = 4;      // kind, key, name and anonymous

  Result<void> read_multi(const Node& node) {
    for (const auto& [name, value] : Members(node)) {
      if (name == "kind") continue;
      FS_TRY(read_single(value, name));
    }
    if (context_.individuals_.empty()) return invalid("a multi-kind context without kinds");
    return {};
  }

  Result<void> read_single(const Node& node, std::string_view kind) {
    if (!is_valid_kind(kind)) return invalid(fmt::format("\"{}\" cannot be a kind", kind));
    if (node.type != NodeType::Object) return invalid(fmt::format("the {} is not an object", kind));
    IndividualContext& made = context_.individuals_.emplace_back();
    made.kind = Name(kind);
    reserve(made, node);
    const Node* key = nullptr;
    const Node* name = nullptr;
    const Node* anonymous = nullptr;
    const Node* meta = nullptr;
    for (const auto& [member, value] : Members(node)) {
      if (member == "key") {
        key = &value;
      } else if (member == "name") {
        name = &value;
      } else if (member == "anonymous") {
        anonymous = &value;
      } else if (member == "_meta") {
        meta = &value;
      } else if (!member.empty() && member != "kind") {
        add(made, member, value);
      }
    }
    if (key == nullptr || key->type != NodeType::String || key->text.empty())
      return invalid(fmt::format("the key of the {} is not a string with characters", kind));
    if (!is_null(name) && name->type != NodeType::String) return invalid("name is not a string");
    if (anonymous != nullptr && anonymous->type != NodeType::Bool)
      return invalid("anonymous is not a boolean");
    if (!is_null(meta)) {
      if (meta->type != NodeType::Object) return invalid("_meta is not an object");
      if (!is_array_of_strings_or_null(find(*meta, "privateAttributes")))
        return invalid("privateAttributes is not an array of strings");
    }
    add_built_in(made, *key, name, anonymous);
    return {};
  }

  Result<void> read_legacy_user(const Node& node) {
    const Node* key = find(node, "key");
    if (key == nullptr || key->type != NodeType::String)
      return invalid("the key of the user is not a string");
    const Node* anonymous = find(node, "anonymous");
    if (!is_null(anonymous) && anonymous->type != NodeType::Bool)
      return invalid("anonymous is not a boolean");
    const Node* custom = find(node, "custom");
    if (!is_null(custom) && custom->type != NodeType::Object)
      return invalid("custom is not an object");
    if (!is_array_of_strings_or_null(find(node, "privateAttributeNames")))
      return invalid("privateAttributeNames is not an array of strings");
    IndividualContext& made = context_.individuals_.emplace_back();
    made.kind = Name(kUserKind);
    if (!is_null(custom)) {
      reserve(made, *custom);
      for (const auto& [member, value] : Members(*custom)) {
        if (!member.empty() && !is_reserved(member)) add(made, member, value);
      }
    }
    for (const std::string_view name :
         {"firstName", "lastName", "email", "country", "avatar", "ip"}) {
      const Node* value = find(node, name);
      if (is_null(value)) continue;
      if (value->type != NodeType::String) return invalid(fmt::format("{} is not a string", name));
      add(made, name, *value);
    }
    const Node* name = find(node, "name");
    if (!is_null(name) && name->type != NodeType::String) return invalid("name is not a string");
    add_built_in(made, *key, name, is_null(anonymous) ? nullptr : anonymous);
    return {};
  }

  static void reserve(IndividualContext& made, const Node& attributes) {
    std::size_t count = kBuiltIn;
    for ([[maybe_unused]] const auto& member : Members(attributes)) ++count;
    made.attributes.reserve(count);
    made.tags.reserve(count);
  }

  static void add(IndividualContext& made, std::string_view name, const Node& value) {
    made.attributes.push_back({name, &value});
    made.tags.push_back(static_cast<std::uint32_t>(hash_of(name)));
  }

  // Last, so that they win over attributes of the same name.
  void add_built_in(IndividualContext& made, const Node& key, const Node* name,
                    const Node* anonymous) {
    made.key = key.text;
    made.key_hash = hash_of(key.text);
    made.is_anonymous = anonymous != nullptr && anonymous->boolean;
    Node& kind = context_.made_.emplace_back();
    kind.type = NodeType::String;
    kind.text = made.kind.text;
    add(made, "kind", kind);
    if (anonymous == nullptr) {
      Node& absent = context_.made_.emplace_back();
      absent.type = NodeType::Bool;
      anonymous = &absent;
    }
    add(made, "anonymous", *anonymous);
    if (name != nullptr) add(made, "name", *name);
    add(made, "key", key);
  }

  Context& context_;
};

// The member of `value` that the components behind the first one name.
const Node* IndividualContext::descend(const AttributeReference& reference, const Node* value) {
  for (const auto& component : std::span(reference.components()).subspan(1)) {
    if (value == nullptr) return nullptr;
    value = flags::find(*value, component.name);
  }
  return value;
}

const IndividualContext* Context::find_other(const Name& kind) const {
  for (const IndividualContext& each : individuals_) {
    if (each.kind == kind) return &each;
  }
  return nullptr;
}

Result<Context> Context::from(const Node& node) {
  Context context;
  FS_TRY(ContextReader(context).read(node));
  return context;
}

Result<Context> Context::parse(std::string_view json) {
  FS_TRY(auto document, Document::parse(json));
  FS_TRY(Context context, from(document->root()));
  context.document_ = std::move(document);
  return context;
}

std::string Context::fully_qualified_key() const {
  if (!is_multi() && user_ == 0) return std::string(user()->key);
  std::string out;
  for (const IndividualContext& each : individuals_) {
    if (!out.empty()) out += ':';
    out += each.kind.text;
    out += ':';
    append_escaped(out, each.key);
  }
  return out;
}

}  // namespace flagstream::flags
