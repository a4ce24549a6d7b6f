// What a reader of the topic `config` knows after its last record: the yardstick when control
// starts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/id.h"
#include "catalog/outbox.h"

namespace flagstream::catalog {

struct PublishedItem {
  std::int64_t version = 0;
  bool deleted = false;
  std::string document;
};

struct PublishedEnvironment {
  ProjectId project{};
  std::int64_t revision = 0;
  std::map<std::pair<ItemKind, std::string>, PublishedItem> items;
};

using Published = std::map<EnvironmentId, PublishedEnvironment>;

}  // namespace flagstream::catalog
