// The part of EventReader that takes summary events apart: one record for each counter.
#include <algorithm>

#include "events/noise.h"
#include "transform/decode_event.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr std::size_t kContextKindsMax = 1'000;

}  // namespace

Fault EventReader::take_repeated_bytes(std::size_t size, std::size_t copies) {
  // A divided bound instead of a product that may overflow.
  const std::size_t left = kRepeatedBytesPerPayloadMax - repeated_bytes_;
  if (size != 0 && copies > left / size) return RejectReason::TooLarge;
  repeated_bytes_ += size * copies;
  return {};
}

Fault EventReader::read_features(ondemand::value& value, EventList& out) {
  if (token_of(value) == "null") return {};
  out.resize(first_ + 1);  // of an earlier member of that name: the last one counts
  ondemand::object features;
  if (value.get_object().get(features)) return RejectReason::WrongType;
  for (auto result : features) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view flag;
    if (const Fault fault = read_name(field, source_->arena, flag)) return fault;
    if (flag.empty()) return RejectReason::MissingKey;
    if (flag.size() > kNameBytesMax) return RejectReason::TooLarge;
    if (const Fault fault = read_flag(flag, field.value(), out)) return fault;
  }
  return {};
}

Fault EventReader::read_flag(std::string_view flag, ondemand::value& value, EventList& out) {
  const std::size_t begin = out.size();
  std::optional<std::string_view> default_json;
  context_kinds_.clear();
  ondemand::object object;
  if (value.get_object().get(object)) return RejectReason::WrongType;
  for (auto result : object) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, source_->arena, name)) return fault;
    Fault fault;
    if (name == "counters") {
      out.resize(begin);
      fault = read_counters(field.value(), out);
    } else if (name == "default") {
      default_json.reset();
      fault = read_raw(field.value(), default_json);
    } else if (name == "contextKinds") {
      fault = read_context_kinds(field.value());
    }
    if (fault) return fault;
  }

  std::size_t repeated = flag.size() + default_json.value_or("").size();
  for (const auto kind : context_kinds_) repeated += kind.size();
  if (const Fault fault = take_repeated_bytes(repeated, out.size() - begin)) return fault;
  const auto kinds = kept<std::string_view>(context_kinds_, source_->arena);
  for (std::size_t i = begin; i < out.size(); ++i) {
    out[i].key = flag;
    out[i].default_json = default_json.value_or("");
    out[i].context_kinds = kinds;
  }
  return {};
}

Fault EventReader::read_counters(ondemand::value& value, EventList& out) {
  if (token_of(value) == "null") return {};
  ondemand::array counters;
  if (value.get_array().get(counters)) return RejectReason::WrongType;
  for (auto result : counters) {
    ondemand::object counter;
    if (std::move(result).get_object().get(counter)) return RejectReason::WrongType;
    if (out.size() > kRecordsPerPayloadMax) return RejectReason::TooLarge;
    if (const Fault fault = read_counter(counter, out.emplace_back())) return fault;
  }
  return {};
}

Fault EventReader::read_counter(ondemand::object& counter, events::EventView& event) {
  std::optional<std::int64_t> count;
  for (auto result : counter) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, source_->arena, name)) return fault;
    Fault fault;
    if (name == "count") {
      fault = read_whole(field.value(), 0, kScaledMax, count);
    } else if (name == "variation") {
      std::optional<std::int64_t> variation;
      fault = read_whole(field.value(), INT32_MIN, INT32_MAX, variation);
      if (variation) event.variation = static_cast<std::int32_t>(*variation);
    } else if (name == "version") {
      std::optional<std::int64_t> version;
      fault = read_whole(field.value(), -kScaledMax, kScaledMax, version);
      if (version) event.version = *version;
    } else if (name == "value") {
      fault = read_raw(field.value(), event.value_json);
    } else if (name == "unknown") {
      std::optional<bool> unknown;
      fault = read_bool(field.value(), unknown);
      event.unknown_flag = unknown.value_or(false);
    }
    if (fault) return fault;
  }
  if (!count) return RejectReason::WrongType;
  event.count = *count;
  if (event.unknown_flag) event.noise = events::kNoiseUnknownFlag;
  return {};
}

Fault EventReader::read_context_kinds(ondemand::value& value) {
  context_kinds_.clear();
  if (token_of(value) == "null") return {};
  ondemand::array kinds;
  if (value.get_array().get(kinds)) return RejectReason::WrongType;
  for (auto result : kinds) {
    ondemand::value element;
    if (std::move(result).get(element)) return kMalformed;
    std::optional<std::string_view> kind;
    if (const Fault fault = read_string(element, source_->arena, kind)) return fault;
    if (context_kinds_.size() == kContextKindsMax) return RejectReason::TooLarge;
    if (kind) context_kinds_.push_back(*kind);
  }
  return {};
}

// The record that the members were read into is no counter: what they say goes to each of the
// counters, which take its place.
Fault EventReader::finish_summary(EventList& out) {
  const std::size_t counters = out.size() - first_ - 1;
  if (counters == 0) return RejectReason::EmptySummary;
  const events::EventView summary = own();
  std::size_t repeated = summary.context_json.size();
  for (const auto& context : summary.contexts) repeated += context.kind.size() + context.key.size();
  if (const Fault fault = take_repeated_bytes(repeated, counters)) return fault;

  out.erase(out.begin() + static_cast<std::ptrdiff_t>(first_));
  const auto date = members_.end_date ? members_.end_date : members_.start_date;
  for (std::size_t i = 0; i < counters; ++i) {
    events::EventView& event = out[first_ + i];
    event.kind = proto::SUMMARY;
    event.time_us = date.value_or(0);
    event.start_us = members_.start_date.value_or(0);
    event.source.part = static_cast<std::uint32_t>(i);
    event.contexts = summary.contexts;
    event.context_json = summary.context_json;
    constexpr events::NoiseMask kOfSummary = events::kNoiseAnonymous;
    event.noise |= (summary.noise & kOfSummary) | (date ? 0 : events::kNoiseInvalidDate);
  }
  return {};
}

}  // namespace flagstream::transform
