#include "events/envelope.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include <simdjson.h>

namespace flagstream::events {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::unexpected<Error> invalid(const char* what) { return fail(ErrorKind::InvalidArgument, what); }

// Takes the brackets outside of strings in order, and the commas of the outermost array.  Depth
// costs one bit, so that depth is no danger.
class Outline {
 public:
  // `text`: without blanks at its ends.
  Outline(std::string_view text, std::vector<std::string_view>* texts)
      : text_(text), texts_(texts) {}

  bool is_comma_between_events() const { return depth_ == 1 && is_array_; }
  // One more event has ended; false: too many.
  bool comma(std::size_t at) { return end_event(at); }
  bool commas(std::uint32_t count) {
    events_ += count;
    return !too_many_events();
  }
  bool keeps_texts() const { return texts_ != nullptr; }

  // False: the text cannot be one complete array or object.
  bool bracket(std::size_t at) {
    const char c = text_[at];
    const bool is_array = c == '[' || c == ']';
    if (c == '{' || c == '[') {
      if (depth_ == 0 && at != 0) return false;
      if (depth_ == 0) {
        is_array_ = is_array;
        event_begin_ = is_array ? 1 : 0;
      }
      open(is_array);
      return true;
    }
    return depth_ > 0 && close(at, is_array);
  }

  Result<Envelope> finish() const {
    if (too_many_events()) return fail(ErrorKind::TooLarge, "too many events in one payload");
    if (!closed_) return invalid("body is not one complete JSON array or object");
    return Envelope{.is_array = is_array_, .events = events_};
  }

 private:
  bool too_many_events() const { return events_ > kEventsPerPayloadMax; }

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
    if (at + 1 != text_.size()) return false;  // something follows
    closed_ = true;
    if (!is_array_) return end_event(at + 1);
    const bool is_empty = events_ == 0 && trimmed(text_.substr(1, at - 1)).empty();
    return is_empty || end_event(at);
  }

  bool end_event(std::size_t at) {
    ++events_;
    if (too_many_events()) return false;
    if (texts_ != nullptr)
      texts_->push_back(trimmed(text_.substr(event_begin_, at - event_begin_)));
    event_begin_ = at + 1;
    return true;
  }

  std::string_view text_;
  std::vector<std::string_view>* texts_;
  std::vector<std::uint64_t> arrays_;  // one bit for each open bracket: 1 for '['
  std::size_t depth_ = 0;
  std::size_t event_begin_ = 0;
  std::uint32_t events_ = 0;
  bool is_array_ = false;
  bool closed_ = false;
};

// Where the bytes that matter stand in a block of 64: one bit for each byte.
constexpr std::size_t kBlockBytes = 64;
struct Marks {
  std::uint64_t quotes = 0;
  std::uint64_t backslashes = 0;
  std::uint64_t brackets = 0;
  std::uint64_t commas = 0;
};

using Block = unsigned char __attribute__((ext_vector_type(64)));
using BlockBits = bool __attribute__((ext_vector_type(64)));

// The compiler makes of this what the instruction set of its caller has.
__attribute__((always_inline)) inline void mark_blocks(const char* bytes, std::span<Marks> out) {
  for (Marks& marks : out) {
    Block block;
    std::memcpy(&block, bytes, kBlockBytes);
    bytes += kBlockBytes;
    const Block folded = block | 0x20;  // '[' becomes '{', ']' becomes '}'; nothing else does
    marks.quotes = std::bit_cast<std::uint64_t>(__builtin_convertvector(block == '"', BlockBits));
    marks.backslashes =
        std::bit_cast<std::uint64_t>(__builtin_convertvector(block == '\\', BlockBits));
    marks.brackets = std::bit_cast<std::uint64_t>(
        __builtin_convertvector((folded == '{') | (folded == '}'), BlockBits));
    marks.commas = std::bit_cast<std::uint64_t>(__builtin_convertvector(block == ',', BlockBits));
  }
}

using MarkBlocks = void (*)(const char* bytes, std::span<Marks> out);

void mark_blocks_anywhere(const char* bytes, std::span<Marks> out) { mark_blocks(bytes, out); }
#ifdef __x86_64__
__attribute__((target("avx2"))) void mark_blocks_avx2(const char* bytes, std::span<Marks> out) {
  mark_blocks(bytes, out);
}
__attribute__((target("avx512bw"))) void mark_blocks_avx512(const char* bytes,
                                                            std::span<Marks> out) {
  mark_blocks(bytes, out);
}
#endif

// For each instruction set that this machine has, the fastest last.
std::vector<MarkBlocks> all_mark_blocks() {
  std::vector<MarkBlocks> all = {mark_blocks_anywhere};
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") != 0) all.push_back(mark_blocks_avx2);
  if (__builtin_cpu_supports("avx512bw") != 0) all.push_back(mark_blocks_avx512);
#endif
  return all;
}

MarkBlocks fastest_mark_blocks() {
  static const MarkBlocks fastest = all_mark_blocks().back();
  return fastest;
}

// Of each bit, whether the number of set bits up to it is odd.
std::uint64_t running_parity(std::uint64_t bits) {
  for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
  return bits;
}

// Follows strings from block to block.
class StringFollower {
 public:
  // A bit for each byte of the block that is within a string.
  std::uint64_t inside(const Marks& marks) {
    std::uint64_t escaped = std::exchange(escapes_next_, 0);
    // Mostly there is none.  One outside of a string escapes a quote, too.
    for (std::uint64_t left = marks.backslashes; left != 0; left &= left - 1) {
      const std::uint64_t bit = left & -left;
      if ((escaped & bit) != 0) continue;
      escaped |= bit << 1;
      if (bit >> 63 != 0) escapes_next_ = 1;
    }
    const std::uint64_t inside = running_parity(marks.quotes & ~escaped) ^ open_;
    open_ = inside >> 63 != 0 ? ~std::uint64_t{0} : 0;
    return inside;
  }
  bool is_open() const { return open_ != 0; }

 private:
  std::uint64_t escapes_next_ = 0;  // 1: the first byte of the next block
  std::uint64_t open_ = 0;          // all bits: a string goes on in the next block
};

// False: the outline has seen enough.
bool take_block(Outline& outline, std::size_t at, std::uint64_t brackets, std::uint64_t commas) {
  const auto take_commas = [&](std::uint64_t bits) {
    if (bits == 0 || !outline.is_comma_between_events()) return true;
    if (!outline.keeps_texts()) return outline.commas(std::popcount(bits));
    for (; bits != 0; bits &= bits - 1) {
      if (!outline.comma(at + static_cast<std::size_t>(std::countr_zero(bits)))) return false;
    }
    return true;
  };
  for (; brackets != 0; brackets &= brackets - 1) {
    const std::uint64_t before = (brackets & -brackets) - 1;
    if (!take_commas(commas & before)) return false;
    commas &= ~before;
    if (!outline.bracket(at + static_cast<std::size_t>(std::countr_zero(brackets)))) return false;
  }
  return take_commas(commas);
}

Result<Envelope> outline_of(std::string_view body, std::vector<std::string_view>* texts,
                            MarkBlocks mark = fastest_mark_blocks()) {
  const std::string_view text = trimmed(body);
  if (text.empty()) return invalid("body holds no JSON");
  Outline outline(text, texts);
  StringFollower strings;
  std::array<Marks, 64> marks;
  std::size_t at = 0;
  bool goes_on = text.front() == '[' || text.front() == '{';
  const auto take = [&](std::size_t blocks) {
    for (std::size_t i = 0; i < blocks; ++i, at += kBlockBytes) {
      const std::uint64_t outside = ~strings.inside(marks[i]);
      goes_on = goes_on &&
                take_block(outline, at, marks[i].brackets & outside, marks[i].commas & outside);
    }
  };
  while (text.size() - at >= kBlockBytes) {
    const std::size_t blocks = std::min(marks.size(), (text.size() - at) / kBlockBytes);
    mark(text.data() + at, std::span(marks).first(blocks));
    take(blocks);
  }
  std::array<char, kBlockBytes> rest{};
  std::copy(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), rest.begin());
  mark(rest.data(), std::span(marks).first(1));
  take(1);
  // Of several faults this one is told: it is what a body that was cut short looks like.
  if (strings.is_open()) return invalid("body ends inside a string");
  if (!simdjson::validate_utf8(body.data(), body.size())) return invalid("body is not UTF-8");
  return outline.finish();
}

bool is_bracket(char c) { return c == '{' || c == '}' || c == '[' || c == ']'; }

// The offset of the quote that ends the string whose first quote is at `at`; npos if none does.
std::size_t end_of_string(std::string_view body, std::size_t at) {
  for (++at; at < body.size(); ++at) {
    if (body[at] == '"') return at;
    if (body[at] == '\\') ++at;
  }
  return std::string_view::npos;
}

// The same, byte by byte.
Result<Envelope> outline_of_bytes(std::string_view body) {
  if (!simdjson::validate_utf8(body.data(), body.size())) return invalid("body is not UTF-8");
  const std::string_view text = trimmed(body);
  if (text.empty() || (text.front() != '[' && text.front() != '{'))
    return invalid("body is not one complete JSON array or object");
  Outline outline(text, nullptr);
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\\' && at + 1 < text.size() && (text[at + 1] == '"' || text[at + 1] == '\\')) {
      ++at;
    } else if (c == '"') {
      at = end_of_string(text, at);
      if (at == std::string_view::npos) return invalid("body ends inside a string");
    } else if (c == ',') {
      if (outline.is_comma_between_events() && !outline.comma(at)) break;
    } else if (is_bracket(c)) {
      if (!outline.bracket(at)) break;
    }
  }
  return outline.finish();
}

}  // namespace

Result<Envelope> scan_envelope(std::string_view body) {
  if (body.empty()) return invalid("body is empty");
  return outline_of(body, nullptr);
}

Result<Envelope> split_envelope(std::string_view body, std::vector<std::string_view>& texts) {
  texts.clear();
  if (body.empty()) return invalid("body is empty");
  return outline_of(body, &texts);
}

std::vector<Result<Envelope>> scan_by_each_instruction_set(std::string_view body) {
  std::vector<Result<Envelope>> all;
  for (const MarkBlocks mark : all_mark_blocks()) {
    all.push_back(body.empty() ? invalid("body is empty") : outline_of(body, nullptr, mark));
  }
  return all;
}

Result<Envelope> scan_bytes(std::string_view body) {
  if (body.empty()) return invalid("body is empty");
  return outline_of_bytes(body);
}

}  // namespace flagstream::events
