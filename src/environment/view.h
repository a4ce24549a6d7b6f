// What readers of the configuration look at: immutable, replaced as a whole.  Pure: no thread, no
// clock, no disk.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "environment/environments.h"
#include "environment/fold.h"

namespace flagstream::environment {

struct KeyOwner {
  EnvironmentId environment{};
  CredentialKind kind = CredentialKind::SdkKey;
  MicrosUtc expires = 0;  // 0: never
};

// The digest is as good a hash as there is: its first bytes are one.
struct DigestHash {
  std::size_t operator()(std::string_view digest) const {
    std::size_t hash = 0;
    digest.copy(reinterpret_cast<char*>(&hash), sizeof hash);
    return hash;
  }
};

// Whom each credential opens.
//
// Secret keys are found by one probe with the SHA-256 of their text, which is all that is known of
// them here. The time that comparing digests takes may tell how much of a digest was right, but
// whoever asks chooses the text and not the digest: to use a known beginning of a digest he would
// have to find a text for it, and that is as hard as guessing the key.  Nobody who asks can put
// anything into these maps, so no chain in them can be made long.
struct Lookups {
  std::unordered_map<std::string, KeyOwner, DigestHash> keys;  // by SHA-256
  std::multimap<MicrosUtc, EnvironmentId> expiries;            // of the keys that expire
  std::unordered_map<std::string, EnvironmentId> client_side_ids;
};

struct View {
  std::uint64_t generation = 0;
  std::shared_ptr<const Lookups> lookups = std::make_shared<Lookups>();
  std::map<EnvironmentId, std::shared_ptr<const FlagSet>> flag_sets;
};

// What records did to one environment since the last view.
struct PendingChanges {
  bool is_replaced = false;          // by a copy, at revision `complete_from`
  std::uint64_t complete_from = 0;   // if replaced
  bool has_new_environment = false;  // its own item changed: credentials, name, deletion
  std::vector<proto::Item> changes;  // after that, in order
};
using Pending = std::map<std::uint64_t, PendingChanges>;  // by environment id

// Adds what one record did.  `fold` is as it is after that record.
void add_pending(Pending& pending, Folded folded, const ConfigFold& fold);

// The environments of keys that expire after `after`, at `until` at the latest.
std::set<EnvironmentId> expired_between(const Lookups& lookups, MicrosUtc after, MicrosUtc until);

// The view after `pending`: only what changed is made anew, everything else is shared with
// `before`.
std::shared_ptr<const View> next_view(const View& before, const ConfigFold& fold,
                                      const Pending& pending);

// The last changes of one environment, bounded in number and bytes.
class ChangeRing {
 public:
  static constexpr std::size_t kChangesMax = 1'024;
  static constexpr std::size_t kBytesMax = 8u << 20;

  // Nothing before `revision` is known any more.
  void restart(std::uint64_t revision);
  void add(std::shared_ptr<const FlagChange> change);
  // nullopt: not all of them are here.
  std::optional<std::vector<std::shared_ptr<const FlagChange>>> since(std::uint64_t revision) const;

 private:
  std::uint64_t complete_from_ = 0;  // every change above this revision is here
  std::size_t bytes_ = 0;
  std::deque<std::shared_ptr<const FlagChange>> changes_;  // by rising revision
};

using Rings = std::map<EnvironmentId, ChangeRing>;

// What the ring of one environment has to take in, prepared before any lock is taken.
struct RingUpdate {
  EnvironmentId environment{};
  bool is_gone = false;     // free the ring
  bool is_restart = false;  // begin anew from `from`
  std::uint64_t from = 0;   // where a new or restarted ring is complete from
  std::vector<std::shared_ptr<const FlagChange>> changes;
};
std::vector<RingUpdate> ring_updates(const View& view, const Pending& pending);
void apply(Rings& rings, std::vector<RingUpdate> updates);

}  // namespace flagstream::environment
