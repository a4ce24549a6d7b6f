// Text that is looked up often: names with their hash, and sets of keys.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace flagstream::flags {

// Quick and not secret.  The tables that use it hold what an environment's owner wrote; requests
// only look up.
inline std::uint64_t hash_of(std::string_view text) {
  constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15;
  std::uint64_t hash = text.size() * kMultiplier;
  const auto mix = [&hash](std::uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  const char* p = text.data();
  std::size_t left = text.size();
  for (; left >= 8; left -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    mix(word);
  }
  if (left >= 4) {
    std::uint32_t low;
    std::uint32_t high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + left - 4, 4);
    mix(std::uint64_t{high} << 32 | low);
  } else if (left > 0) {
    const auto byte = [p](std::size_t i) {
      return std::uint64_t{static_cast<unsigned char>(p[i])};
    };
    mix(byte(0) | byte(left / 2) << 8 | byte(left - 1) << 16);
  }
  return hash;
}

// a == b.  Keys and names are short: a call of memcmp would cost more than the comparison.
inline bool is_same(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const std::size_t size = a.size();
  const auto difference = [&]<class Word>(Word, std::size_t at) {
    Word left;
    Word right;
    std::memcpy(&left, a.data() + at, sizeof(Word));
    std::memcpy(&right, b.data() + at, sizeof(Word));
    return std::uint64_t{left} ^ right;
  };
  if (size > 16) return std::memcmp(a.data(), b.data(), size) == 0;
  if (size >= 8)
    return (difference(std::uint64_t{}, 0) | difference(std::uint64_t{}, size - 8)) == 0;
  if (size >= 4)
    return (difference(std::uint32_t{}, 0) | difference(std::uint32_t{}, size - 4)) == 0;
  if (size >= 2)
    return (difference(std::uint16_t{}, 0) | difference(std::uint16_t{}, size - 2)) == 0;
  return size == 0 || a[0] == b[0];
}

// The kind that is meant where none is named.
inline constexpr std::string_view kUserKind = "user";

// A text that is compared often.  Does not own its characters.
struct Name {
  std::uint64_t hash = 0;
  std::string_view text;
  bool is_user = false;  // the text is kUserKind

  Name() = default;
  explicit Name(std::string_view t) : hash(hash_of(t)), text(t), is_user(t == kUserKind) {}
  bool operator==(const Name& other) const {
    return hash == other.hash && is_same(text, other.text);
  }
};

// An immutable set of keys.  Does not own their characters.  Thread-safe.
class KeySet {
 public:
  KeySet() = default;
  explicit KeySet(std::vector<std::string_view> keys);

  bool is_empty() const { return slots_.empty(); }
  bool contains(std::string_view key) const {
    return tags_.empty() ? contains_scanned(key) : contains_hashed(key, hash_of(key));
  }
  // The same where hash_of(key) is known.
  bool contains(std::string_view key, std::uint64_t hash) const {
    return tags_.empty() ? contains_scanned(key) : contains_hashed(key, hash);
  }

 private:
  bool contains_scanned(std::string_view key) const {
    for (const std::string_view each : slots_) {
      if (is_same(each, key)) return true;
    }
    return false;
  }
  bool contains_hashed(std::string_view key, std::uint64_t hash) const;

  static constexpr std::size_t kScannedMax = 8;  // so few are compared one by one

  std::vector<std::string_view> slots_;  // open addressing
  // Of each slot, 0 where it is empty: most of those who are in no set need to look at nothing
  // else.  Without tags slots_ is a plain list.
  std::vector<std::uint32_t> tags_;
};

}  // namespace flagstream::flags
