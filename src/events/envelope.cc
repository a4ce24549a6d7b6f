#include "events/envelope.h"

#include <algorithm>
#include <utility>

#include <simdjson.h>

namespace flagstream::events {
namespace {

// The index takes four times the size of the largest body so far; after one above this it is given
// back.
constexpr std::size_t kKeptIndexBytes = 1 << 20;
constexpr std::size_t kLeastIndexBytes = 1 << 16;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::unexpected<Error> invalid(const char* what) { return fail(ErrorKind::InvalidArgument, what); }

// Takes the body's tokens in order: brackets, commas, colons, and the first byte of every string or
// other scalar.  Depth costs one bit, so that depth is no danger.
class Outline {
 public:
  Outline(std::string_view body, std::vector<std::string_view>* texts)
      : body_(body), texts_(texts) {}

  // False: the body cannot be a complete array or object, or has too many events.
  bool take(std::size_t at) {
    const char c = body_[at];
    if (closed_) {
      has_more_ = true;
      return false;
    }
    if (depth_ == 0) return open_root(at, c);
    switch (c) {
      case '{':
      case '[':
        has_content_ = true;
        open(c == '[');
        return true;
      case '}':
      case ']':
        return close(at, c == ']');
      case ',':
        if (depth_ == 1 && is_array_) return end_event(at);
        return true;
      default:
        has_content_ = true;
        return true;
    }
  }

  bool too_many_events() const { return events_ > kEventsPerPayloadMax; }

  Result<Envelope> finish() const {
    if (too_many_events()) return fail(ErrorKind::TooLarge, "too many events in one payload");
    if (!closed_ || has_more_) return invalid("body is not one complete JSON array or object");
    return Envelope{.is_array = is_array_, .events = events_};
  }

 private:
  bool open_root(std::size_t at, char c) {
    if (c != '[' && c != '{') return false;
    is_array_ = c == '[';
    event_begin_ = is_array_ ? at + 1 : at;
    open(is_array_);
    return true;
  }

  void open(bool array) {
    const std::size_t word = depth_ / 64;
    if (word == arrays_.size()) arrays_.push_back(0);
    const std::uint64_t bit = std::uint64_t{1} << (depth_ % 64);
    arrays_[word] = array ? (arrays_[word] | bit) : (arrays_[word] & ~bit);
    ++depth_;
  }

  bool close(std::size_t at, bool array) {
    --depth_;
    const bool opened_array = (arrays_[depth_ / 64] >> (depth_ % 64)) & 1;
    if (opened_array != array) return false;
    if (depth_ > 0) return true;
    closed_ = true;
    if (!is_array_) return end_event(at + 1);
    return !has_content_ && events_ == 0 ? true : end_event(at);
  }

  bool end_event(std::size_t at) {
    ++events_;
    if (too_many_events()) return false;
    if (texts_ != nullptr)
      texts_->push_back(trimmed(body_.substr(event_begin_, at - event_begin_)));
    event_begin_ = at + 1;
    return true;
  }

  std::string_view body_;
  std::vector<std::string_view>* texts_;
  std::vector<std::uint64_t> arrays_;  // one bit for each open bracket: 1 for '['
  std::size_t depth_ = 0;
  std::size_t event_begin_ = 0;
  std::uint32_t events_ = 0;
  bool is_array_ = false;
  bool has_content_ = false;
  bool closed_ = false;
  bool has_more_ = false;  // something follows the end of the root
};

bool is_structural(char c) {
  return c == '{' || c == '}' || c == '[' || c == ']' || c == ',' || c == ':';
}

// The offset of the quote that ends the string whose first quote is at `at`; npos if none does.
std::size_t end_of_string(std::string_view body, std::size_t at) {
  for (++at; at < body.size(); ++at) {
    if (body[at] == '"') return at;
    if (body[at] == '\\') ++at;
  }
  return std::string_view::npos;
}

Result<Envelope> outline_of_bytes(std::string_view body, std::vector<std::string_view>* texts) {
  if (!simdjson::validate_utf8(body.data(), body.size())) return invalid("body is not UTF-8");
  Outline outline(body, texts);
  bool in_scalar = false;
  for (std::size_t at = 0; at < body.size(); ++at) {
    const char c = body[at];
    if (is_blank(c)) {
      in_scalar = false;
      continue;
    }
    const bool token = c == '"' || is_structural(c);
    const bool starts = token || !in_scalar;
    in_scalar = !token;
    if (starts && !outline.take(at)) break;
    // The vector code lets a backslash escape a quote outside strings, too; the rules must be the
    // same.
    if (c == '\\' && at + 1 < body.size() && (body[at + 1] == '"' || body[at + 1] == '\\')) ++at;
    if (c != '"') continue;
    at = end_of_string(body, at);
    if (at == std::string_view::npos) return invalid("body ends inside a string");
  }
  return outline.finish();
}

}  // namespace

struct EnvelopeScanner::Index {
  std::unique_ptr<simdjson::internal::dom_parser_implementation> stage;
  std::size_t capacity = 0;

  bool reserve(std::size_t bytes) {
    if (stage && bytes <= capacity) return true;
    bytes = std::max(bytes, kLeastIndexBytes);
    // Only the first stage is used, so that a depth of 1 suffices: depth is checked above.
    const auto error =
        simdjson::get_active_implementation()->create_dom_parser_implementation(bytes, 1, stage);
    capacity = error ? 0 : bytes;
    if (error) stage.reset();
    return !error;
  }

  Result<Envelope> outline(std::string_view body, std::vector<std::string_view>* texts) {
    if (!reserve(body.size())) return fail(ErrorKind::TooLarge, "body is too large to be scanned");
    const auto error = stage->stage1(reinterpret_cast<const std::uint8_t*>(body.data()),
                                     body.size(), simdjson::stage1_mode::regular);
    if (error == simdjson::UNESCAPED_CHARS) return outline_of_bytes(body, texts);
    if (error == simdjson::UTF8_ERROR) return invalid("body is not UTF-8");
    if (error == simdjson::UNCLOSED_STRING) return invalid("body ends inside a string");
    if (error) return invalid("body holds no JSON");
    Outline tokens(body, texts);
    for (std::uint32_t i = 0; i < stage->n_structural_indexes; ++i) {
      if (!tokens.take(stage->structural_indexes[i])) break;
    }
    return tokens.finish();
  }
};

EnvelopeScanner::EnvelopeScanner() : index_(std::make_unique<Index>()) {}
EnvelopeScanner::~EnvelopeScanner() = default;
EnvelopeScanner::EnvelopeScanner(EnvelopeScanner&&) noexcept = default;
EnvelopeScanner& EnvelopeScanner::operator=(EnvelopeScanner&&) noexcept = default;

Result<Envelope> EnvelopeScanner::scan(std::string_view body) { return scan_into(body, nullptr); }

Result<Envelope> EnvelopeScanner::split(std::string_view body,
                                        std::vector<std::string_view>& texts) {
  texts.clear();
  return scan_into(body, &texts);
}

Result<Envelope> EnvelopeScanner::scan_into(std::string_view body,
                                            std::vector<std::string_view>* texts) {
  if (body.empty()) return invalid("body is empty");
  Result<Envelope> envelope = index_->outline(body, texts);
  if (index_->capacity > kKeptIndexBytes) *index_ = Index();
  return envelope;
}

Result<Envelope> scan_bytes(std::string_view body) {
  if (body.empty()) return invalid("body is empty");
  return outline_of_bytes(body, nullptr);
}

}  // namespace flagstream::events
