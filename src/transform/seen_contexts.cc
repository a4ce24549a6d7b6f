#include "transform/seen_contexts.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/hash.h"

namespace flagstream::transform {
namespace {

constexpr std::string_view kPrefix = "dx";
constexpr std::size_t kKeyBytes = 2 + 4 + 16;
constexpr std::size_t kBytesPerUnsaved = 64;  // in a set and in a batch

std::uint32_t period_of(MicrosUtc clock) {
  return static_cast<std::uint32_t>(std::max<MicrosUtc>(0, clock) / SeenContexts::kPeriod);
}

std::string period_key(std::uint32_t period) {
  std::string key(kPrefix);
  append_be32(key, period);
  return key;
}

// Lengths first: no two lists of contexts give the same bytes.
Id128 hash_of(std::uint64_t environment, std::span<const events::ContextKeyView> contexts) {
  std::string bytes;
  append_be64(bytes, environment);
  for (const events::ContextKeyView& each : contexts) {
    for (const std::string_view text : {each.kind, each.key}) {
      append_be32(bytes, static_cast<std::uint32_t>(text.size()));
      bytes.append(text);
    }
  }
  return xxh3_128(bytes);
}

}  // namespace

Result<SeenContexts> SeenContexts::open(const pipeline::Store& store, MicrosUtc clock) {
  SeenContexts seen;
  seen.period_ = period_of(clock);
  bool is_damaged = false;
  FS_TRY(store.scan(period_key(seen.period_), [&](std::string_view key, std::string_view) {
    is_damaged = key.size() != kKeyBytes;
    if (!is_damaged) seen.seen_.insert(*Id128::from_bytes(key.substr(kKeyBytes - 16)));
    return !is_damaged;
  }));
  if (is_damaged) return fail(ErrorKind::DataLoss, "the key of a seen context is damaged");
  return seen;
}

void SeenContexts::advance(MicrosUtc clock) {
  const std::uint32_t period = period_of(clock);
  if (period <= period_) return;
  period_ = period;
  has_moved_ |= !seen_.empty();  // else there is nothing to remove
  seen_ = {};
  unsaved_ = {};
}

bool SeenContexts::take(std::uint64_t environment,
                        std::span<const events::ContextKeyView> contexts) {
  const Id128 id = hash_of(environment, contexts);
  if (is_full()) return !seen_.contains(id);
  if (!seen_.insert(id).second) return false;
  unsaved_.push_back(id);
  return true;
}

void SeenContexts::checkpoint(pipeline::Changes& changes) {
  if (std::exchange(has_moved_, false)) changes.remove_range(period_key(0), period_key(period_));
  for (const Id128& id : std::exchange(unsaved_, {}))
    changes.put(period_key(period_) + id.to_bytes(), {});
}

std::size_t SeenContexts::dirty_bytes() const { return unsaved_.size() * kBytesPerUnsaved; }

}  // namespace flagstream::transform
