// A tag that changes when anything changes that decides the values of the flags that a credential
// of OFREP sees.
#pragma once

#include <memory>
#include <string>

#include "delivery/access.h"
#include "delivery/evaluators.h"
#include "delivery/made_once.h"

namespace flagstream::delivery {

// Thread-safe.  What it holds goes with the flag sets.
class ScopeTags {
 public:
  explicit ScopeTags(Evaluators& evaluators) : evaluators_(evaluators) {}

  // 32 hexadecimal digits, the same in every gateway: of the flags that this kind of credential
  // sees, their prerequisites, and all segments where one of these asks for any.
  std::string get(environment::CredentialKind kind, const Flags& flags);

 private:
  struct Tags {
    std::string mobile;
    std::string client_side;
  };
  static constexpr std::size_t kEnvironmentsKept = 10'000;

  Evaluators& evaluators_;
  MadeOnce<environment::FlagSet, Tags> made_{kEnvironmentsKept};
};

}  // namespace flagstream::delivery
