#include "transform/dedupe.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"

namespace flagstream::transform {
namespace {

constexpr std::string_view kClockKey = "dclock";
constexpr std::string_view kIdPrefix = "di";
constexpr std::string_view kFilterPrefix = "df";
constexpr std::size_t kIdKeyBytes = 2 + 4 + 16;
constexpr std::size_t kFilterKeyBytes = 2 + 4 + 4;
constexpr std::size_t kFilterCapacityMin = 1024;
constexpr std::size_t kBytesPerUnsavedId = 64;  // in a set and in a batch

std::string hour_key(std::string_view prefix, std::uint32_t hour) {
  std::string key(prefix);
  append_be32(key, hour);
  return key;
}

std::string id_key(std::uint32_t hour, const Id128& id) {
  return hour_key(kIdPrefix, hour) + id.to_bytes();
}

std::uint32_t hour_of(MicrosUtc time) {
  return static_cast<std::uint32_t>(std::max<MicrosUtc>(0, time) / kMicrosPerHour);
}

}  // namespace

Result<Dedupe> Dedupe::open(const pipeline::Store& store) {
  Dedupe dedupe(store);
  FS_TRY(const std::optional<std::string> clock, store.get(kClockKey));
  if (!clock) return dedupe;
  if (clock->size() != sizeof(MicrosUtc)) return fail(ErrorKind::DataLoss, "the clock is damaged");
  dedupe.clock_ = get_le<MicrosUtc>(clock->data());
  dedupe.hour_ = hour_of(dedupe.clock_);
  FS_TRY(dedupe.read_filters());
  const std::uint32_t oldest = dedupe.hour_ - std::min(dedupe.hour_, kDedupeHours);
  for (std::uint32_t hour = oldest; hour <= dedupe.hour_; ++hour) {
    if (!dedupe.hours_.contains(hour)) FS_TRY(dedupe.read_ids(hour));
  }
  return dedupe;
}

Result<void> Dedupe::read_filters() {
  Result<void> outcome;
  FS_TRY(store_->scan(kFilterPrefix, [&](std::string_view key, std::string_view value) {
    auto filter = IdFilter::decode(value);
    if (key.size() != kFilterKeyBytes) {
      outcome = fail(ErrorKind::DataLoss, "a filter of ids is damaged");
    } else if (!filter) {
      outcome = fail(std::move(filter).error());
    } else {
      Hour& hour = hours_[get_be32(key.data() + kFilterPrefix.size())];
      hour.filters.push_back(*std::move(filter));
      hour.are_filters_saved = true;
    }
    return outcome.has_value();
  }));
  return outcome;
}

Result<void> Dedupe::read_ids(std::uint32_t number) {
  Hour hour;
  bool is_damaged = false;
  FS_TRY(store_->scan(hour_key(kIdPrefix, number), [&](std::string_view key, std::string_view) {
    is_damaged = key.size() != kIdKeyBytes;
    if (is_damaged) return false;
    add_to_filters(hour, *Id128::from_bytes(key.substr(kIdKeyBytes - 16)));
    return true;
  }));
  if (is_damaged) return fail(ErrorKind::DataLoss, "the key of an id is damaged");
  if (hour.filtered > 0) hours_.emplace(number, std::move(hour));
  return {};
}

void Dedupe::advance(MicrosUtc received) {
  if (received <= clock_) return;
  clock_ = received;
  has_moved_ = true;
  const std::uint32_t hour = hour_of(received);
  if (hour == hour_) return;
  hour_ = hour;
  if (hour <= kDedupeHours) return;
  const std::uint32_t oldest = hour - kDedupeHours;
  while (!hours_.empty() && hours_.begin()->first < oldest) {
    unsaved_ -= hours_.begin()->second.unsaved.size();
    hours_.erase(hours_.begin());
  }
  expired_below_ = oldest;
}

Result<bool> Dedupe::take(const Id128& id) {
  for (auto each = hours_.rbegin(); each != hours_.rend(); ++each) {
    FS_TRY(const bool is_there, is_in(each->first, each->second, id));
    if (is_there) return false;
  }
  hours_[hour_].unsaved.insert(id);
  ++unsaved_;
  return true;
}

Result<bool> Dedupe::is_in(std::uint32_t number, const Hour& hour, const Id128& id) const {
  if (!hour.unsaved.empty() && hour.unsaved.contains(id)) return true;
  if (!hour.saving.empty() && hour.saving.contains(id)) return true;
  for (const IdFilter& filter : hour.filters) {
    if (!filter.may_contain(id)) continue;
    FS_TRY(const auto found, store_->get(id_key(number, id)));
    return found.has_value();
  }
  return false;
}

// As many as the hour before had, so that an hour usually needs one filter.
std::size_t Dedupe::first_capacity() const {
  std::size_t previous = 0;
  if (const auto found = hours_.find(hour_ - 1); hour_ > 0 && found != hours_.end())
    previous = found->second.filtered;
  return std::max(kFilterCapacityMin, previous + previous / 4);
}

void Dedupe::add_to_filters(Hour& hour, const Id128& id) {
  if (hour.filtered >= hour.capacity) {
    const std::size_t more = hour.capacity == 0 ? first_capacity() : hour.capacity;
    hour.filters.emplace_back(more);
    hour.capacity += more;
  }
  hour.filters.back().insert(id);
  ++hour.filtered;
}

void Dedupe::checkpoint(pipeline::Changes& changes) {
  if (std::exchange(has_moved_, false)) {
    std::string value;
    append_le(value, clock_);
    changes.put(kClockKey, value);
  }
  if (const std::uint32_t below = std::exchange(expired_below_, 0); below > 0) {
    for (const std::string_view prefix : {kIdPrefix, kFilterPrefix})
      changes.remove_range(hour_key(prefix, 0), hour_key(prefix, below));
  }
  for (auto& [number, hour] : hours_) {
    for (const Id128& id : hour.unsaved) {
      changes.put(id_key(number, id), {});
      add_to_filters(hour, id);
    }
    hour.saving = std::exchange(hour.unsaved, {});
    if (number >= hour_ || hour.are_filters_saved) continue;
    for (std::uint32_t i = 0; i < hour.filters.size(); ++i) {
      std::string key = hour_key(kFilterPrefix, number);
      append_be32(key, i);
      changes.put(key, hour.filters[i].encode());
    }
    hour.are_filters_saved = true;
  }
  unsaved_ = 0;
}

void Dedupe::checkpointed() {
  for (auto& [number, hour] : hours_) hour.saving = {};
}

std::size_t Dedupe::dirty_bytes() const { return unsaved_ * kBytesPerUnsavedId; }

std::size_t Dedupe::resident_bytes() const {
  std::size_t sum = dirty_bytes();
  for (const auto& [number, hour] : hours_) {
    for (const IdFilter& filter : hour.filters) sum += filter.bytes();
  }
  return sum;
}

}  // namespace flagstream::transform
