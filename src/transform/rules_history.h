// What every flag said at every revision of its environment, for events that do not say it
// themselves.  Reads `config` from its beginning once somebody asks, and on whenever somebody asks
// for a revision that it has not read.  Only SDKs of schema 1 and 2 make anybody ask.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "environment/fold.h"
#include "log/log.h"
#include "transform/flag_rules.h"

namespace flagstream::transform {

// Thread-safe.
class RulesHistory {
 public:
  // `log` must outlive it.
  explicit RulesHistory(log::Log& log) : log_(log) {}

  // As FindRules.  The gateway that wrote a revision into a payload's header had read it from
  // `config`, so it is there; null where it is not, which is another `config` than that gateway's.
  // Unavailable: `config` cannot be read.
  Result<std::shared_ptr<const FlagRules>> find(const FlagAt& flag);

 private:
  struct Entry {
    std::uint64_t revision = 0;
    std::shared_ptr<const FlagRules> rules;  // null: deleted
  };

  bool has_read(const FlagAt& flag) const;
  Result<void> read_to_end();
  Result<void> open(const log::TopicInfo& info);
  Result<void> take(const log::Frame& frame);
  void note(const environment::proto::Item& item);

  log::Log& log_;
  std::mutex mutex_;
  std::unique_ptr<log::Reader> reader_;
  Id128 log_id_;
  log::Offset next_ = 0;
  environment::ConfigFold config_;
  // By environment and key; by rising revision, where something changed.
  std::map<std::pair<std::uint64_t, std::string>, std::vector<Entry>, std::less<>> flags_;
};

}  // namespace flagstream::transform
