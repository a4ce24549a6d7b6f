// The state that the records of `config` come to: which environments there are and what is in each.
// Pure: no thread, no clock, no disk.
//
// Revisions of an environment are dense: what is known already is dropped, and what comes after a
// gap waits until the gap is filled or a complete copy steps over it.  A copy counts only with its
// end, and only where it is ahead.
#pragma once

#include <cstdint>
#include <deque>
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

// What one flag or segment adds to the digest of its environment's contents: the low half of
// XXH3-128 of kind, key and document.  0 for whatever SDKs do not get: the environment's own item,
// tombstones.
std::uint64_t digest_of(const proto::Item& item);

struct EnvironmentState {
  static constexpr std::size_t kDigestsKept = 256;
  static constexpr std::size_t kDigestsSaved = 64;

  std::uint64_t revision = 0;
  // Of the contents: the sum of digest_of() over `items`.  The same in every gateway, however it
  // came to this revision.
  std::uint64_t digest = 0;
  // What it was at the last revisions, the last at `revision`.  Never across a copy or a deletion
  // of the environment: from any revision in here on, every change of an item is known by the
  // item's revision.
  std::deque<std::uint64_t> digests;
  std::uint64_t revision_seen =
      0;  // the highest of any record: above `revision`, something is missing
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
  bool has_complete_copy = false;  // the end of a whole copy: nothing before it is missing any more
};

class ConfigFold {
 public:
  // What is over these is dropped and counted; the next copy, or the one after that, repairs it.
  static constexpr std::size_t kWaitingMax = 10'000;          // per environment, behind a gap
  static constexpr std::size_t kWaitingBytesMax = 64u << 20;  // of all environments
  static constexpr std::size_t kCopyBytesMax = 1u << 30;      // of a copy that has no end yet

  explicit ConfigFold(std::size_t waiting_bytes_max = kWaitingBytesMax,
                      std::size_t copy_bytes_max = kCopyBytesMax)
      : waiting_bytes_max_(waiting_bytes_max), copy_bytes_max_(copy_bytes_max) {}

  // InvalidArgument: written by a newer release.  Damaged and unknown records are counted and
  // skipped.
  Result<Folded> take(std::string_view record);

  const std::map<std::uint64_t, EnvironmentState>& environments() const { return environments_; }
  std::uint64_t skipped() const { return skipped_; }
  std::uint64_t dropped() const { return dropped_; }  // items over a limit
  std::size_t gaps() const;                           // environments of which a revision is missing
  // Whether it has ever been told of an environment, be it deleted.
  bool has_environment() const;
  // A copy has begun and may still get its end.
  bool is_inside_copy() const { return copy_.has_value(); }
  // Records are missing here: a copy that has begun is not whole.
  void note_hole();

  // The whole state as records of one complete copy, for saving; take() of them all on an empty
  // fold is this state.
  Result<std::vector<std::string>> as_copy() const;

 private:
  void take_copy_item(proto::Item item);
  void take_change(proto::Item item, Folded& out);
  void keep_waiting(EnvironmentState& state, proto::Item item);
  static void apply(EnvironmentState& to, const proto::Item& item);
  static void note_digest(EnvironmentState& to);
  void finish_copy(std::uint64_t copy_id, Folded& out);

  std::map<std::uint64_t, EnvironmentState> environments_;
  std::optional<proto::CopyBegin> copy_;
  std::vector<proto::Item> copy_items_;
  std::size_t copy_bytes_ = 0;
  std::size_t waiting_bytes_ = 0;
  std::size_t waiting_bytes_max_;
  std::size_t copy_bytes_max_;
  std::uint64_t skipped_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace flagstream::environment
