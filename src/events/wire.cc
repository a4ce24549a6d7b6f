#include "events/wire.h"

namespace flagstream::events::wire {

std::uint64_t Reader::long_varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 7 * kVarintBytesMax && at_ != end_; shift += 7) {
    const auto byte = static_cast<unsigned char>(*at_++);
    value |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  fail();
  return 0;
}

// Of at most five bytes; bits above the 32nd are dropped.
std::uint32_t Reader::short_varint() {
  std::uint32_t value = 0;
  for (unsigned shift = 0; shift < 35 && at_ != end_; shift += 7) {
    const auto byte = static_cast<unsigned char>(*at_++);
    value |= static_cast<std::uint32_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  fail();
  return 0;
}

std::uint64_t Reader::size() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 35 && at_ != end_; shift += 7) {
    const auto byte = static_cast<unsigned char>(*at_++);
    value |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  fail();
  return 0;
}

void Reader::skip_bytes(std::size_t count) {
  if (count > static_cast<std::size_t>(end_ - at_)) return fail();
  at_ += count;
}

void Reader::skip(std::uint32_t tag, int depth) {
  switch (static_cast<Type>(tag & 7)) {
    case Type::Varint:
      varint();
      return;
    case Type::Fixed64:
      return skip_bytes(8);
    case Type::Bytes:
      bytes();
      return;
    case Type::GroupBegin:
      return skip_group(tag >> 3, depth - 1);
    case Type::Fixed32:
      return skip_bytes(4);
    case Type::GroupEnd:
      break;
  }
  fail();
}

void Reader::skip_group(std::uint32_t field, int depth) {
  if (depth < 0) return fail();
  while (!is_at_end()) {
    const std::uint32_t inner = tag();
    if (has_failed_) return;
    if (inner >> 3 == 0) return fail();
    if (static_cast<Type>(inner & 7) != Type::GroupEnd) {
      skip(inner, depth);
      continue;
    }
    if (inner >> 3 != field) fail();
    return;
  }
  fail();
}

}  // namespace flagstream::events::wire
