#include "delivery/big_segments.h"

#include <charconv>
#include <utility>

namespace flagstream::delivery {
namespace {

using environment::Memberships;

flags::BigSegmentsStatus status_of(Memberships::State state) {
  switch (state) {
    case Memberships::State::Absent:
      return flags::BigSegmentsStatus::NotConfigured;
    case Memberships::State::Loading:
      return flags::BigSegmentsStatus::StoreError;
    case Memberships::State::Current:
      return flags::BigSegmentsStatus::Healthy;
    case Memberships::State::Stale:
      return flags::BigSegmentsStatus::Stale;
  }
  std::unreachable();
}

// Of KEY.gGENERATION; 0 if there is none.
std::uint64_t generation_of(std::string_view reference) {
  const std::size_t at = reference.rfind(".g");
  if (at == std::string_view::npos) return 0;
  std::uint64_t generation = 0;
  const char* end = reference.data() + reference.size();
  const auto [read, error] = std::from_chars(reference.data() + at + 2, end, generation);
  return error == std::errc() && read == end ? generation : 0;
}

}  // namespace

bool BigSegmentMembers::is_ready() const {
  return memberships_.state() != Memberships::State::Loading;
}

flags::BigSegments::Answer BigSegmentMembers::find(std::string_view context_key,
                                                   std::string_view reference) const {
  return {.status = status_of(memberships_.state()),
          .is_member = memberships_.find(generation_of(reference), context_key)};
}

}  // namespace flagstream::delivery
