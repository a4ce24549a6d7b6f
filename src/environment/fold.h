// The state that the records of `config` come to: which environments there are and what is in each.
// Pure: no thread, no clock, no disk.
//
// Revisions of an environment are dense: what is known already is dropped, and what comes after a
// gap waits until the gap is filled or a complete copy steps over it.  A copy counts only with its
// end, and only where it is ahead.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "environment/config.pb.h"

namespace flagstream::environment {

using ItemName = std::pair<proto::Item::Kind, std::string>;

struct EnvironmentState {
  std::uint64_t revision = 0;
  bool is_deleted = false;
  std::map<ItemName, proto::Item> items;         // tombstones included
  std::map<std::uint64_t, proto::Item> waiting;  // behind a gap, by revision
};

// What one record did.
struct Folded {
  // Applied in this order, one revision each.
  std::vector<proto::Item> changes;
  // Replaced as a whole, by a copy.
  std::set<std::uint64_t> replaced;
};

class ConfigFold {
 public:
  static constexpr std::size_t kWaitingMax =
      10'000;  // per environment; beyond it only a copy helps

  // InvalidArgument: written by a newer release.  Damaged and unknown records are counted and
  // skipped.
  Result<Folded> take(std::string_view record);

  const std::map<std::uint64_t, EnvironmentState>& environments() const { return environments_; }
  std::uint64_t skipped() const { return skipped_; }
  std::size_t gaps() const;  // environments in which something waits

  // The whole state as records of one complete copy, for saving; take() of them all on an empty
  // fold is this state.
  Result<std::vector<std::string>> as_copy() const;

 private:
  void take_change(proto::Item item, Folded& out);
  void apply(EnvironmentState& to, const proto::Item& item);
  void finish_copy(std::uint64_t copy_id, Folded& out);

  std::map<std::uint64_t, EnvironmentState> environments_;
  std::optional<proto::CopyBegin> copy_;
  std::vector<proto::Item> copy_items_;
  std::uint64_t skipped_ = 0;
};

}  // namespace flagstream::environment
