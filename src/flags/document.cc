#include "flags/document.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "flags/key_set.h"

namespace flagstream::flags {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The size of the well-formed UTF-8 sequence at `p`, 0 if there is none (Unicode table 3-7).
std::size_t utf8_sequence_size(const char* p, const char* end) {
  const auto byte = [p](int i) { return static_cast<unsigned char>(p[i]); };
  const auto is_tail = [&byte](int i) { return (byte(i) & 0xC0) == 0x80; };
  const std::ptrdiff_t left = end - p;
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return left >= 2 && is_tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (left < 3 || !is_tail(1) || !is_tail(2)) return 0;
    if (lead == 0xE0 && byte(1) < 0xA0) return 0;
    return lead == 0xED && byte(1) > 0x9F ? 0 : 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (left < 4 || !is_tail(1) || !is_tail(2) || !is_tail(3)) return 0;
    if (lead == 0xF0 && byte(1) < 0x90) return 0;
    return lead == 0xF4 && byte(1) > 0x8F ? 0 : 4;
  }
  return 0;
}

// Four hexadecimal digits, or -1.
int hex4(const char* p, const char* end) {
  if (end - p < 4) return -1;
  int value = 0;
  const auto done = std::from_chars(p, p + 4, value, 16);
  return done.ptr == p + 4 && *p != '-' ? value : -1;
}

void append_utf8(std::vector<char>& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

double to_double(std::string_view digits, bool is_plain) {
  if (is_plain && digits.size() <= 15) {
    const bool is_negative = digits.front() == '-';
    std::int64_t whole = 0;
    for (const char c : digits.substr(is_negative ? 1 : 0)) whole = whole * 10 + (c - '0');
    return is_negative ? -static_cast<double>(whole) : static_cast<double>(whole);
  }
  double number = 0;
  const auto done = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (done.ec == std::errc()) return number;
  // Out of range.  The exponent's sign says on which side; without one there are over 300 digits.
  const std::size_t e = digits.find_first_of("eE");
  const bool is_tiny = e != std::string_view::npos && digits[e + 1] == '-';
  const double size = is_tiny ? 0.0 : std::numeric_limits<double>::infinity();
  return digits.front() == '-' ? -size : size;
}

}  // namespace

// Reads a Document's source into its nodes; used once.
class DocumentReader {
 public:
  explicit DocumentReader(Document& document)
      : document_(document),
        begin_(document.source_.data()),
        p_(begin_),
        end_(begin_ + document.source_.size()) {
    // Nearly right for the documents that come most: one flag, one context.
    document_.nodes_.reserve(std::min(document.source_.size() / kBytesANode + 1, kNodesAtFirst));
    open_.reserve(kDepthAtFirst);
  }

  Result<void> read() {
    skip_blanks();
    do {
      if (!read_value()) return failed();
      if (!close_and_continue()) return failed();
    } while (!open_.empty());
    if (p_ != end_) {
      expect("the end");
      return failed();
    }
    return {};
  }

 private:
  static constexpr std::size_t kBytesANode = 6;
  static constexpr std::size_t kNodesAtFirst = 256;
  static constexpr std::size_t kDepthAtFirst = 16;

  std::unexpected<Error> failed() const {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("not JSON: {} expected at byte {}", expected_, p_ - begin_));
  }
  bool expect(std::string_view what) {
    expected_ = what;
    return false;
  }
  void skip_blanks() {
    while (p_ != end_ && is_blank(*p_)) ++p_;
  }
  bool take(char c) {
    if (p_ == end_ || *p_ != c) return false;
    ++p_;
    return true;
  }
  Node& add(NodeType type) {
    Node& node = document_.nodes_.emplace_back();
    node.type = type;
    return node;
  }

  // A scalar, an empty container, or everything up to the first scalar or empty container inside.
  bool read_value() {
    for (;;) {
      if (p_ == end_) return expect("a value");
      if (*p_ != '{' && *p_ != '[') return read_scalar();
      if (open_.size() == Document::kDepthMax) return expect("less depth");
      const bool is_object = *p_ == '{';
      open_.push_back(static_cast<std::uint32_t>(document_.nodes_.size()));
      add(is_object ? NodeType::Object : NodeType::Array).source = {p_, 1};
      ++p_;
      skip_blanks();
      if (p_ != end_ && *p_ == (is_object ? '}' : ']')) return true;
      if (is_object && !read_name()) return false;
    }
  }

  bool read_name() {
    if (p_ == end_ || *p_ != '"') return expect("a member's name");
    if (!read_string()) return false;
    skip_blanks();
    if (!take(':')) return expect("a colon");
    skip_blanks();
    return true;
  }

  // After a value: closes the containers that end here, and goes to the next value if one is open.
  bool close_and_continue() {
    for (;;) {
      skip_blanks();
      if (open_.empty()) return true;
      Node& container = document_.nodes_[open_.back()];
      const bool is_object = container.type == NodeType::Object;
      if (take(is_object ? '}' : ']')) {
        container.span = static_cast<std::uint32_t>(document_.nodes_.size()) - open_.back();
        container.source = {container.source.data(), p_};
        open_.pop_back();
        continue;
      }
      if (!take(',')) return expect(is_object ? "a comma or }" : "a comma or ]");
      skip_blanks();
      return !is_object || read_name();
    }
  }

  bool read_scalar() {
    switch (*p_) {
      case '"':
        return read_string();
      case 't':
        return read_word("true", NodeType::Bool);
      case 'f':
        return read_word("false", NodeType::Bool);
      case 'n':
        return read_word("null", NodeType::Null);
      default:
        return read_number();
    }
  }

  bool read_word(std::string_view word, NodeType type) {
    if (!std::string_view(p_, end_).starts_with(word)) return expect("a value");
    Node& node = add(type);
    node.boolean = word == "true";
    node.source = {p_, word.size()};
    p_ += word.size();
    return true;
  }

  bool skip_digits() {
    const char* first = p_;
    while (p_ != end_ && is_digit(*p_)) ++p_;
    return p_ != first || expect("a digit");
  }

  bool read_number() {
    const char* first = p_;
    take('-');
    if (p_ == end_ || !is_digit(*p_)) return expect("a value");
    if (!take('0') && !skip_digits()) return false;
    const char* whole_end = p_;
    if (take('.') && !skip_digits()) return false;
    if (p_ != end_ && (*p_ == 'e' || *p_ == 'E')) {
      ++p_;
      if (!take('+')) take('-');
      if (!skip_digits()) return false;
    }
    Node& node = add(NodeType::Number);
    node.source = {first, p_};
    node.number = to_double(node.source, p_ == whole_end);
    return true;
  }

  bool read_string() {
    const char* first = p_++;
    const char* plain = p_;  // what is not yet copied
    const std::size_t unescaped_begin = document_.unescaped_.size();
    bool is_escaped = false;
    for (;;) {
      if (p_ == end_) return expect("a closing quote");
      const auto c = static_cast<unsigned char>(*p_);
      if (c == '"') break;
      if (c < 0x20) return expect("an escape for a control character");
      if (c == '\\') {
        if (document_.unescaped_.capacity() == 0)
          document_.unescaped_.reserve(document_.source_.size());
        is_escaped = true;
        document_.unescaped_.insert(document_.unescaped_.end(), plain, p_);
        if (!read_escape()) return false;
        plain = p_;
        continue;
      }
      const std::size_t size = c < 0x80 ? 1 : utf8_sequence_size(p_, end_);
      if (size == 0) return expect("UTF-8");
      p_ += size;
    }
    Node& node = add(NodeType::String);
    node.text = {plain, p_};
    if (is_escaped) {
      document_.unescaped_.insert(document_.unescaped_.end(), plain, p_);
      node.text = {document_.unescaped_.data() + unescaped_begin,
                   document_.unescaped_.size() - unescaped_begin};
    }
    ++p_;
    node.source = {first, p_};
    return true;
  }

  bool read_escape() {
    ++p_;
    if (p_ == end_) return expect("an escape");
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    const std::size_t letter = kLetters.find(*p_);
    if (letter != std::string_view::npos) {
      document_.unescaped_.push_back(kMeant[letter]);
      ++p_;
      return true;
    }
    const int unit = *p_ == 'u' ? hex4(p_ + 1, end_) : -1;
    if (unit < 0) return expect("an escape");
    p_ += 5;
    auto code = static_cast<std::uint32_t>(unit);
    if (code >= 0xD800 && code <= 0xDFFF) {
      const bool has_second = code < 0xDC00 && end_ - p_ >= 6 && p_[0] == '\\' && p_[1] == 'u';
      const int second = has_second ? hex4(p_ + 2, end_) : -1;
      if (second >= 0xDC00 && second <= 0xDFFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + (static_cast<std::uint32_t>(second) - 0xDC00);
        p_ += 6;
      } else {
        code = 0xFFFD;  // half of a pair has no UTF-8; what JavaScript writes for it
      }
    }
    append_utf8(document_.unescaped_, code);
    return true;
  }

  Document& document_;
  const char* begin_;
  const char* p_;
  const char* end_;
  std::vector<std::uint32_t> open_;  // the containers around p_
  std::string_view expected_;
};

const Node* find(const Node& object, std::string_view name) {
  const Node* found = nullptr;
  for (const Member member : Members(object)) {
    if (is_same(member.name, name)) found = &member.value;
  }
  return found;
}

const Node& member(const Node& object, std::string_view name) {
  static const Node kNull;
  const Node* found = find(object, name);
  return found == nullptr ? kNull : *found;
}

std::string one_line(const Node& node) {
  if (node.source.find_first_of("\r\n") == std::string_view::npos) return std::string(node.source);
  std::string out;
  bool is_in_string = false;
  for (std::size_t i = 0; i < node.source.size(); ++i) {
    const char c = node.source[i];
    if (!is_in_string && is_blank(c)) continue;
    out += c;
    if (c == '"') is_in_string = !is_in_string;
    if (c == '\\') out += node.source[++i];
  }
  return out;
}

Result<std::unique_ptr<Document>> Document::parse(std::string_view text) {
  if (text.size() > kBytesMax) return fail(ErrorKind::TooLarge, "more than 1 GiB of JSON");
  std::unique_ptr<Document> document(new Document(text));
  FS_TRY(DocumentReader(*document).read());
  return document;
}

void Document::drop_nodes() { std::vector<Node>().swap(nodes_); }

}  // namespace flagstream::flags
