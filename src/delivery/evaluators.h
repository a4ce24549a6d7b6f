// Flag sets in the form that evaluates.
#pragma once

#include <memory>

#include "delivery/access.h"
#include "delivery/big_segments.h"
#include "delivery/made_once.h"
#include "flags/evaluator.h"

namespace flagstream::delivery {

// Thread-safe.  What it holds goes with the flag sets.
class Evaluators {
 public:
  // `members` decides about big segments and must outlive this; null: nobody keeps them.
  explicit Evaluators(const BigSegmentMembers* members = nullptr) : members_(members) {}

  const flags::BigSegments* big_segments() const { return members_; }
  // Whether what is evaluated by this one is right: not while its big segments are being read.
  bool is_ready(const flags::Evaluator& evaluator) const {
    return members_ == nullptr || members_->is_ready() || !evaluator.has_big_segments();
  }
  // Compiled at the first call for this flag set.  Null: it cannot be (more deeply nested than the
  // evaluator reads); then nothing in it can be evaluated.
  std::shared_ptr<const flags::Evaluator> get(const Flags& flags) {
    return made_.get(flags, [](const environment::FlagSet& set) {
      auto made = flags::Evaluator::compile(*set.all_json);
      return made ? std::shared_ptr<const flags::Evaluator>(*std::move(made)) : nullptr;
    });
  }

 private:
  static constexpr std::size_t kEnvironmentsKept = 10'000;

  const BigSegmentMembers* members_;
  MadeOnce<environment::FlagSet, flags::Evaluator> made_{kEnvironmentsKept};
};

}  // namespace flagstream::delivery
