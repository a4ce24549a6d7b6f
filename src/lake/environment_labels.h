// Which project an environment belongs to, and what both are called: from the topic `config`.
//
// Rows carry the immutable ids, and beside them the keys that people know.  A key is the one that
// was in force when its row was written; after a rename the ids still tell what belongs together.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "log/log.h"

namespace flagstream::lake {

struct EnvironmentLabel {
  std::uint64_t project_id = 0;
  std::string project_key;
  std::string environment_key;
};

// Not thread-safe.
class EnvironmentLabels {
 public:
  explicit EnvironmentLabels(log::Log& log) : log_(log) {}

  // Reads what `config` holds by now, without waiting for more.  A missing topic is no error; nor
  // is a record that this release does not understand.
  Result<void> refresh();
  // Null: not known.  Deleted environments keep their last label: their events may come after them.
  const EnvironmentLabel* find(std::uint64_t environment_id) const;

 private:
  struct Known {
    std::uint64_t revision = 0;
    EnvironmentLabel label;
  };
  Result<void> open();
  void take(std::string_view record);

  log::Log& log_;
  std::unique_ptr<log::Reader> reader_;
  std::map<std::uint64_t, Known> known_;
};

}  // namespace flagstream::lake
