#include "transform/id_filter.h"

#include <algorithm>
#include <cstring>

namespace flagstream::transform {
namespace {

constexpr std::size_t kWordsPerBlock = 8;
constexpr std::size_t kBlockBytes = kWordsPerBlock * sizeof(std::uint64_t);
constexpr std::size_t kBitsPerBlock = kBlockBytes * 8;
constexpr std::size_t kBitsPerId = 12;
constexpr int kProbes = 7;
constexpr int kProbeBits = 9;  // of 512 bits in a block
constexpr std::uint8_t kKind = 'F';
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 2;

}  // namespace

IdFilter::IdFilter(std::size_t capacity) {
  const std::size_t bits = std::max<std::size_t>(1, capacity) * kBitsPerId;
  words_.resize((bits + kBitsPerBlock - 1) / kBitsPerBlock * kWordsPerBlock);
}

std::size_t IdFilter::first_word(const Id128& id) const {
  const std::uint64_t blocks = words_.size() / kWordsPerBlock;
  const auto block = static_cast<unsigned __int128>(id.high) * blocks >> 64;
  return static_cast<std::size_t>(block) * kWordsPerBlock;
}

void IdFilter::insert(const Id128& id) {
  std::uint64_t* const block = &words_[first_word(id)];
  std::uint64_t rest = id.low;
  for (int i = 0; i < kProbes; ++i, rest >>= kProbeBits)
    block[(rest >> 6) & 7] |= 1ull << (rest & 63);
}

bool IdFilter::may_contain(const Id128& id) const {
  const std::uint64_t* const block = &words_[first_word(id)];
  std::uint64_t rest = id.low;
  for (int i = 0; i < kProbes; ++i, rest >>= kProbeBits) {
    if ((block[(rest >> 6) & 7] >> (rest & 63) & 1) == 0) return false;
  }
  return true;
}

std::string IdFilter::encode() const {
  std::string out;
  out.reserve(kHeaderBytes + bytes());
  out += static_cast<char>(kKind);
  out += static_cast<char>(kVersion);
  out.append(reinterpret_cast<const char*>(words_.data()), bytes());
  return out;
}

Result<IdFilter> IdFilter::decode(std::string_view bytes) {
  const auto damaged = [] { return fail(ErrorKind::DataLoss, "a filter of ids is damaged"); };
  if (bytes.size() < kHeaderBytes || static_cast<std::uint8_t>(bytes[0]) != kKind) return damaged();
  const auto version = static_cast<std::uint8_t>(bytes[1]);
  if (version > kVersion)
    return fail(ErrorKind::InvalidArgument, "a filter of ids was written by a newer release");
  bytes.remove_prefix(kHeaderBytes);
  if (version == 0 || bytes.empty() || bytes.size() % kBlockBytes != 0) return damaged();
  IdFilter filter;
  filter.words_.resize(bytes.size() / sizeof(std::uint64_t));
  std::memcpy(filter.words_.data(), bytes.data(), bytes.size());
  return filter;
}

}  // namespace flagstream::transform
