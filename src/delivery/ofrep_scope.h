// Which flags a credential of OFREP sees, and a tag that changes when anything changes that decides
// their values.
#pragma once

#include <memory>
#include <string>

#include "delivery/access.h"
#include "delivery/evaluators.h"
#include "delivery/made_once.h"
#include "flags/model.h"

namespace flagstream::delivery {

// By an SDK key all flags, else those that are available to that kind of client.
bool is_visible(const flags::Flag& flag, environment::CredentialKind kind);

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
