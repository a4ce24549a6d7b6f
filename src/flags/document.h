// JSON text as a tree that remembers its source: every node knows the bytes it was read from, so
// that a variation is given back exactly as it was written, and numbers lose nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace flagstream::flags {

enum class NodeType : std::uint8_t { Null, Bool, Number, String, Array, Object };

// Nodes lie in one array in the order of the text: what a node contains follows it.  In an object
// each value is preceded by a String node with its name.
struct Node {
  NodeType type = NodeType::Null;
  bool boolean = false;
  std::uint32_t span = 1;   // nodes up to the next one on this level: itself and what it contains
  double number = 0;        // as JavaScript reads it: beyond doubles is an infinity
  std::string_view text;    // a String's characters in UTF-8, escapes resolved
  std::string_view source;  // as written, from its first byte to its last
};

// The elements of an Array; of every other node none.
class Elements {
 public:
  class Iterator {
   public:
    explicit Iterator(const Node* node) : node_(node) {}
    const Node& operator*() const { return *node_; }
    Iterator& operator++() {
      node_ += node_->span;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const Node* node_;
  };

  explicit Elements(const Node& array) : array_(array) {}
  Iterator begin() const { return Iterator(&array_ + 1); }
  Iterator end() const {
    return Iterator(array_.type == NodeType::Array ? &array_ + array_.span : &array_ + 1);
  }

 private:
  const Node& array_;
};

struct Member {
  std::string_view name;
  const Node& value;
};

// The members of an Object, repeated names included; of every other node none.
class Members {
 public:
  class Iterator {
   public:
    explicit Iterator(const Node* name) : name_(name) {}
    Member operator*() const { return {name_->text, name_[1]}; }
    Iterator& operator++() {
      name_ += 1 + name_[1].span;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const Node* name_;
  };

  explicit Members(const Node& object) : object_(object) {}
  Iterator begin() const { return Iterator(&object_ + 1); }
  Iterator end() const {
    return Iterator(object_.type == NodeType::Object ? &object_ + object_.span : &object_ + 1);
  }

 private:
  const Node& object_;
};

// The member of an object; of two with one name the last counts.  Null: there is none.
const Node* find(const Node& object, std::string_view name);

// The member of an object, or a Null where there is none.
const Node& member(const Node& object, std::string_view name);

// The node's source on one line: without line breaks it is as written, else without the blanks
// between its tokens.
std::string one_line(const Node& node);

// One whole text (RFC 8259), at most kDepthMax deep and kBytesMax long.  Immovable, because nodes
// point into it.
class Document {
 public:
  static constexpr std::size_t kDepthMax = 512;
  static constexpr std::size_t kBytesMax = std::size_t{1} << 30;

  // Copies `text`.  InvalidArgument: not JSON (with the byte where it ends to be), not UTF-8 or
  // nested too deep.  TooLarge.
  static Result<std::unique_ptr<Document>> parse(std::string_view text);

  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  const Node& root() const { return nodes_.front(); }

  // Frees the nodes; texts and sources that were taken from them stay valid.
  void drop_nodes();

 private:
  friend class DocumentReader;
  explicit Document(std::string_view text) : source_(text.begin(), text.end()) {}

  std::vector<char> source_;
  std::vector<char> unescaped_;  // never grows beyond its reservation: nodes point into it
  std::vector<Node> nodes_;
};

}  // namespace flagstream::flags
