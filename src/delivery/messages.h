// The bytes of server-sent events that carry flag data, each made once and shared by all streams.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "environment/environments.h"

namespace flagstream::delivery {

using Bytes = std::shared_ptr<const std::string>;

std::string put_message(const environment::FlagSet& flags);
// A patch, or a delete for a deleted item.
std::string change_message(const environment::FlagChange& change);

// Thread-safe.  Holds the newest put of each environment and its newest patches.
class Messages {
 public:
  Bytes put(const environment::FlagSet& flags);
  Bytes change(EnvironmentId environment, const environment::FlagChange& change);
  // The body of a poll, compressed.
  Bytes gzip(const environment::FlagSet& flags);

 private:
  static constexpr std::size_t kChangesKept = 64;
  struct Made {
    std::uint64_t revision = 0;
    Bytes put;
    std::uint64_t gzip_revision = 0;
    Bytes gzip;
    std::map<std::uint64_t, Bytes> changes;  // by revision
  };

  std::mutex mutex_;
  std::map<EnvironmentId, Made> made_;
};

}  // namespace flagstream::delivery
