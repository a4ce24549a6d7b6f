// Big segments in the evaluations that this server makes itself.
#pragma once

#include "environment/memberships.h"
#include "flags/evaluator.h"

namespace flagstream::delivery {

// Thread-safe.  `memberships` must outlive it.
class BigSegmentMembers : public flags::BigSegments {
 public:
  explicit BigSegmentMembers(const environment::Memberships& memberships)
      : memberships_(memberships) {}

  // False while memberships are being read after a start: what depends on them would be wrong.
  bool is_ready() const;
  Answer find(std::string_view context_key, std::string_view reference) const override;

 private:
  const environment::Memberships& memberships_;
};

}  // namespace flagstream::delivery
