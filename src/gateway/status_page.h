// The page /status for operators, in the shape of ld-relay's.
#pragma once

#include <mutex>
#include <string>

#include "base/clock.h"
#include "environment/environments.h"

namespace flagstream::gateway {

// Thread-safe.  `environments` and `clock` must outlive it.
class StatusPage {
 public:
  StatusPage(const environment::Environments& environments, const Clock& clock,
             std::string version);

  // Every environment with the state of its connection to `config` and of what is stored here.  No
  // key is in it, not even a part of one: a gateway knows only their digests.
  std::string json();

 private:
  struct State {
    std::string_view name = "INITIALIZING";
    MicrosUtc since = 0;
  };
  // As far as this page is looked at, states are as old as it says.
  void look();

  const environment::Environments& environments_;
  const Clock& clock_;
  const std::string version_;
  std::mutex mutex_;
  State connection_;
  State store_;
  MicrosUtc interrupted_at_ = 0;  // the last time; 0: never
};

}  // namespace flagstream::gateway
