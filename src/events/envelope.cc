#include "events/envelope.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
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

constexpr std::size_t kBlockBytes = 64;
constexpr std::size_t kChunkBlocks = 64;
constexpr std::size_t kChunkBytes = kChunkBlocks * kBlockBytes;

// What stands outside of strings in a piece of the text.
struct Chunk {
  std::size_t begin = 0;   // its place in the text
  std::size_t blocks = 0;  // how many it has
  std::size_t bracket_count = 0;
  std::array<std::uint64_t, kChunkBlocks> commas;  // one bit for each byte
  // The place of each within the chunk, in order; written four at a time, so the last may be
  // followed by what means nothing.
  std::array<std::uint16_t, kChunkBytes + 4> brackets;
};

// Follows brackets, and counts or keeps what stands between the commas of the outermost array.
// Which brackets are open is a word, whose highest bit stands before them: 1 for '[', 0 for '{',
// the innermost last.  What does not fit goes to a list, so that depth costs one bit and is no
// danger.
class Outline {
 public:
  // `text`: without blanks at its ends, and not empty.  Whatever begins with no opening bracket is
  // not to be taken.
  Outline(std::string_view text, std::vector<std::string_view>* texts)
      : text_(text),
        texts_(texts),
        is_array_(text.front() == '['),
        event_begin_(is_array_ ? 1 : 0),
        level_of_events_(is_array_ ? 1 : kNowhere) {}

  // False: what follows does not matter any more.
  [[gnu::always_inline]] inline bool take(const Chunk& chunk) {
    std::size_t taken = 0;
    for (std::size_t i = 0; i < chunk.bracket_count; ++i) {
      const std::size_t place = chunk.brackets[i];
      if (is_between_events() && !take_commas(chunk, taken, place)) return false;
      if (!take_bracket(chunk.begin + place)) return false;
      taken = place + 1;
    }
    return !is_between_events() || take_commas(chunk, taken, chunk.blocks * kBlockBytes);
  }

  Result<Envelope> finish() const {
    if (!is_mismatched_ && has_too_many_events())
      return fail(ErrorKind::TooLarge, "too many events in one payload");
    if (is_mismatched_ || !is_closed_)
      return invalid("body is not one complete JSON array or object");
    return Envelope{.is_array = is_array_, .events = events_};
  }

 private:
  static constexpr std::uint64_t kNoneOpen = 1;
  static constexpr std::uint64_t kFull = std::uint64_t{1} << 63;
  static constexpr unsigned kKeptBits = 32;  // when a word is full
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

  bool has_too_many_events() const { return events_ > kEventsPerPayloadMax; }
  bool is_between_events() const { return open_ >> 1 == level_of_events_; }

  // Without a branch that depends on the text but for what is rare.
  [[gnu::always_inline]] inline bool take_bracket(std::size_t at) {
    // '[' 5b, ']' 5d, '{' 7b, '}' 7d.
    const auto c = static_cast<std::uint64_t>(text_[at]);
    const std::uint64_t is_array = ~(c >> 5) & 1;
    const std::uint64_t opens = (c >> 1) & 1;
    is_mismatched_ |= (~opens & (open_ ^ is_array) & 1) != 0;
    open_ = ((open_ << 1 | is_array) & (0 - opens)) | ((open_ >> 1) & (opens - 1));
    if (open_ - 2 < kFull - 2) return true;
    return open_ == kNoneOpen ? close_word(at) : fill_word();
  }

  bool fill_word() {
    deeper_.push_back(open_ >> kKeptBits);
    constexpr std::uint64_t kHighest = std::uint64_t{1} << kKeptBits;
    open_ = kHighest | (open_ & (kHighest - 1));
    level_of_events_ = kNowhere;
    return true;
  }

  bool close_word(std::size_t at) {
    if (!deeper_.empty()) {
      open_ = deeper_.back();
      deeper_.pop_back();
      if (deeper_.empty() && is_array_) level_of_events_ = 1;
      return true;
    }
    is_closed_ = at + 1 == text_.size();  // else something follows
    const bool is_empty = is_array_ && events_ == 0 && trimmed(text_.substr(1, at - 1)).empty();
    if (is_closed_ && !is_empty) end_event(is_array_ ? at : at + 1);
    return false;
  }

  // Those of the chunk's bytes from `begin` to `end`; false: too many events.
  bool take_commas(const Chunk& chunk, std::size_t begin, std::size_t end) {
    for (std::size_t block = begin / kBlockBytes; block * kBlockBytes < end; ++block) {
      const std::size_t first = block * kBlockBytes;
      std::uint64_t commas = chunk.commas[block];
      if (begin > first) commas &= ~std::uint64_t{0} << (begin - first);
      if (end < first + kBlockBytes) commas &= (std::uint64_t{1} << (end - first)) - 1;
      if (texts_ == nullptr) {
        events_ += static_cast<std::uint32_t>(std::popcount(commas));
        if (has_too_many_events()) return false;
        continue;
      }
      for (; commas != 0; commas &= commas - 1) {
        end_event(chunk.begin + first + static_cast<std::size_t>(std::countr_zero(commas)));
        if (has_too_many_events()) return false;
      }
    }
    return true;
  }

  void end_event(std::size_t at) {
    ++events_;
    if (texts_ != nullptr)
      texts_->push_back(trimmed(text_.substr(event_begin_, at - event_begin_)));
    event_begin_ = at + 1;
  }

  const std::string_view text_;
  std::vector<std::string_view>* const texts_;
  const bool is_array_;
  std::size_t event_begin_;
  std::uint64_t level_of_events_;  // of open_ without its last bit; kNowhere while it is deeper
  std::uint64_t open_ = kNoneOpen;
  std::vector<std::uint64_t> deeper_;
  std::uint32_t events_ = 0;
  bool is_mismatched_ = false;
  bool is_closed_ = false;
};

// Of each bit, whether the number of set bits up to it is odd.
std::uint64_t running_parity(std::uint64_t bits) {
  for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
  return bits;
}

// Follows strings from block to block.
class StringFollower {
 public:
  // A bit for each byte of the block that is within a string.
  [[gnu::always_inline]] inline std::uint64_t inside(std::uint64_t quotes,
                                                     std::uint64_t backslashes) {
    std::uint64_t escaped = std::exchange(escapes_next_, 0);
    // Mostly there is none.  One outside of a string escapes a quote, too.
    for (std::uint64_t left = backslashes; left != 0; left &= left - 1) {
      const std::uint64_t bit = left & -left;
      if ((escaped & bit) != 0) continue;
      escaped |= bit << 1;
      if (bit >> 63 != 0) escapes_next_ = 1;
    }
    const std::uint64_t inside = running_parity(quotes & ~escaped) ^ open_;
    open_ = inside >> 63 != 0 ? ~std::uint64_t{0} : 0;
    return inside;
  }
  bool is_open() const { return open_ != 0; }

 private:
  std::uint64_t escapes_next_ = 0;  // 1: the first byte of the next block
  std::uint64_t open_ = 0;          // all bits: a string goes on in the next block
};

using Block = unsigned char __attribute__((ext_vector_type(64)));
using BlockBits = bool __attribute__((ext_vector_type(64)));

// Finds what matters in a block, which has the number `block` in its chunk: sets a bit for each
// comma, and writes the place of each bracket, of which it returns the number.
[[gnu::always_inline]] inline std::size_t find_in_block(const char* bytes, std::size_t block,
                                                        StringFollower& strings,
                                                        std::uint64_t& commas,
                                                        std::uint16_t* places) {
  Block lanes;
  std::memcpy(&lanes, bytes, kBlockBytes);
  const Block folded = lanes | 0x20;  // '[' becomes '{', ']' becomes '}'; nothing else does
  const auto quotes =
      std::bit_cast<std::uint64_t>(__builtin_convertvector(lanes == '"', BlockBits));
  const auto backslashes =
      std::bit_cast<std::uint64_t>(__builtin_convertvector(lanes == '\\', BlockBits));
  const std::uint64_t outside = ~strings.inside(quotes, backslashes);
  commas = std::bit_cast<std::uint64_t>(__builtin_convertvector(lanes == ',', BlockBits)) & outside;
  auto brackets = std::bit_cast<std::uint64_t>(
                      __builtin_convertvector((folded == '{') | (folded == '}'), BlockBits)) &
                  outside;
  const auto found = static_cast<std::size_t>(std::popcount(brackets));
  // Four at a time, whether there are so many or not: mostly that is one step for a block.
  std::size_t written = 0;
  do {
    for (int i = 0; i < 4; ++i, brackets &= brackets - 1) {
      places[written++] = static_cast<std::uint16_t>(
          block * kBlockBytes + static_cast<std::size_t>(std::countr_zero(brackets)));
    }
  } while (written < found);
  return found;
}

// `text`: without blanks at its ends, and not empty.  Whether it ends inside a string.  The
// compiler makes of this what the instruction set of its caller has.
[[gnu::always_inline]] inline bool follow(std::string_view text, Outline& outline) {
  Chunk chunk;
  StringFollower strings;
  bool goes_on = text.front() == '[' || text.front() == '{';
  for (; chunk.begin < text.size(); chunk.begin += kChunkBytes) {
    const std::string_view rest = text.substr(chunk.begin, kChunkBytes);
    std::size_t blocks = 0;
    std::size_t brackets = 0;
    for (; rest.size() - blocks * kBlockBytes >= kBlockBytes; ++blocks) {
      brackets += find_in_block(rest.data() + blocks * kBlockBytes, blocks, strings,
                                chunk.commas[blocks], chunk.brackets.data() + brackets);
    }
    if (const std::string_view last = rest.substr(blocks * kBlockBytes); !last.empty()) {
      std::array<char, kBlockBytes> filled{};
      std::ranges::copy(last, filled.begin());
      brackets += find_in_block(filled.data(), blocks, strings, chunk.commas[blocks],
                                chunk.brackets.data() + brackets);
      ++blocks;
    }
    chunk.blocks = blocks;
    chunk.bracket_count = brackets;
    goes_on = goes_on && outline.take(chunk);
  }
  return strings.is_open();
}

using Follow = bool (*)(std::string_view text, Outline& outline);

bool follow_anywhere(std::string_view text, Outline& outline) { return follow(text, outline); }
#ifdef __x86_64__
[[gnu::target("avx2,bmi,bmi2")]] bool follow_avx2(std::string_view text, Outline& outline) {
  return follow(text, outline);
}
[[gnu::target("avx512bw,bmi,bmi2")]] bool follow_avx512(std::string_view text, Outline& outline) {
  return follow(text, outline);
}
#endif

// For each instruction set that this machine has, the fastest last.
std::vector<Follow> all_follows() {
  std::vector<Follow> all = {follow_anywhere};
#ifdef __x86_64__
  const bool has_bits = __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0;
  if (has_bits && __builtin_cpu_supports("avx2") != 0) all.push_back(follow_avx2);
  if (has_bits && __builtin_cpu_supports("avx512bw") != 0) all.push_back(follow_avx512);
#endif
  return all;
}

Follow fastest_follow() {
  static const Follow fastest = all_follows().back();
  return fastest;
}

Result<Envelope> outline_of(std::string_view body, std::vector<std::string_view>* texts,
                            Follow follow_text = fastest_follow()) {
  if (body.empty()) return invalid("body is empty");
  const std::string_view text = trimmed(body);
  if (text.empty()) return invalid("body holds no JSON");
  Outline outline(text, texts);
  // Of several faults this one is told: it is what a body that was cut short looks like.
  if (follow_text(text, outline)) return invalid("body ends inside a string");
  if (!simdjson::validate_utf8(body.data(), body.size())) return invalid("body is not UTF-8");
  return outline.finish();
}

}  // namespace

Result<Envelope> scan_envelope(std::string_view body) { return outline_of(body, nullptr); }

Result<Envelope> split_envelope(std::string_view body, std::vector<std::string_view>& texts) {
  texts.clear();
  return outline_of(body, &texts);
}

std::vector<Result<Envelope>> scan_by_each_instruction_set(std::string_view body) {
  std::vector<Result<Envelope>> all;
  for (const Follow follow_text : all_follows())
    all.push_back(outline_of(body, nullptr, follow_text));
  return all;
}

}  // namespace flagstream::events
