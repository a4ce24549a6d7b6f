// Protobuf's wire format, as far as records of events need it (protobuf.dev/programming-guides/
// encoding).  Only for this folder's sources.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace flagstream::events::wire {

enum class Type : std::uint8_t {
  Varint = 0,
  Fixed64 = 1,
  Bytes = 2,
  GroupBegin = 3,
  GroupEnd = 4,
  Fixed32 = 5
};

inline constexpr std::size_t kVarintBytesMax = 10;

constexpr std::size_t varint_size(std::uint64_t value) {
  // 7 bits a byte: (bits + 6) / 7 without a division.
  return (static_cast<std::size_t>(std::bit_width(value | 1)) * 9 + 64) / 64;
}

// Writes into memory that the caller has made large enough.
class Writer {
 public:
  explicit Writer(char* at) : at_(at) {}
  char* at() const { return at_; }

  void varint(std::uint64_t value) {
    while (value >= 128) {
      *at_++ = static_cast<char>(value | 128);
      value >>= 7;
    }
    *at_++ = static_cast<char>(value);
  }
  void tag(std::uint32_t field, Type type) {
    varint(field << 3 | static_cast<std::uint32_t>(type));
  }

  void number(std::uint32_t field, std::uint64_t value) {
    tag(field, Type::Varint);
    varint(value);
  }
  void bytes(std::uint32_t field, std::string_view value) {
    tag(field, Type::Bytes);
    varint(value.size());
    copy(value.data(), value.size());
    at_ += value.size();
  }
  // Members that are absent when they hold nothing.
  void number_if(std::uint32_t field, std::uint64_t value) {
    if (value != 0) number(field, value);
  }
  void bytes_if(std::uint32_t field, std::string_view value) {
    if (!value.empty()) bytes(field, value);
  }

 private:
  // Most texts are short, for which a call would cost more than the copying.
  void copy(const char* from, std::size_t size) {
    if (size > 32) {
      std::memcpy(at_, from, size);
    } else if (size >= 16) {
      copy_ends<16>(from, size);
    } else if (size >= 8) {
      copy_ends<8>(from, size);
    } else if (size >= 4) {
      copy_ends<4>(from, size);
    } else if (size > 0) {
      at_[0] = from[0];
      at_[size / 2] = from[size / 2];
      at_[size - 1] = from[size - 1];
    }
  }
  // The first and the last kBytes, which overlap or meet.
  template <std::size_t kBytes>
  void copy_ends(const char* from, std::size_t size) {
    std::memcpy(at_, from, kBytes);
    std::memcpy(at_ + size - kBytes, from + size - kBytes, kBytes);
  }

  char* at_;
};

// Reads a message.  After a failure everything reads as nothing and failed() says so.
class Reader {
 public:
  explicit Reader(std::string_view message)
      : at_(message.data()), end_(message.data() + message.size()) {}

  bool is_at_end() const { return at_ == end_; }
  bool has_failed() const { return has_failed_; }

  std::uint64_t varint() {
    if (at_ != end_ && static_cast<signed char>(*at_) >= 0)
      return static_cast<std::uint64_t>(*at_++);
    return long_varint();
  }
  // Field number * 8 + type.
  std::uint32_t tag() {
    if (at_ != end_ && static_cast<signed char>(*at_) >= 0)
      return static_cast<std::uint32_t>(*at_++);
    return short_varint();
  }
  std::string_view bytes() {
    std::uint64_t count = 0;
    if (at_ != end_ && static_cast<signed char>(*at_) >= 0) {
      count = static_cast<std::uint64_t>(*at_++);
    } else {
      count = size();
    }
    if (count > static_cast<std::uint64_t>(end_ - at_)) {
      fail();
      return {};
    }
    const std::string_view value(at_, static_cast<std::size_t>(count));
    at_ += count;
    return value;
  }
  // The value after `tag`, whatever it is.  `depth`: groups that it may be nested in.
  void skip(std::uint32_t tag, int depth);

 private:
  void fail() {
    has_failed_ = true;
    at_ = end_;
  }
  void skip_bytes(std::size_t count);
  void skip_group(std::uint32_t field, int depth);
  std::uint64_t long_varint();
  std::uint32_t short_varint();
  std::uint64_t size();

  const char* at_;
  const char* end_;
  bool has_failed_ = false;
};

}  // namespace flagstream::events::wire
