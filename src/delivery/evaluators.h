// Flag sets in the form that evaluates.
#pragma once

#include <memory>

#include "delivery/access.h"
#include "delivery/made_once.h"
#include "flags/evaluator.h"

namespace flagstream::delivery {

// Thread-safe.  What it holds goes with the flag sets.
class Evaluators {
 public:
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

  MadeOnce<environment::FlagSet, flags::Evaluator> made_{kEnvironmentsKept};
};

}  // namespace flagstream::delivery
