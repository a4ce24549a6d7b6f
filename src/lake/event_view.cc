#include "lake/event_view.h"

#include <cstring>
#include <type_traits>

#include <simdjson.h>

#include "events/record.h"

namespace flagstream::lake {
namespace {

// Wire types of Protobuf.
enum WireType : std::uint32_t {
  kVarint = 0,
  kFixed64 = 1,
  kBytes = 2,
  kGroup = 3,
  kGroupEnd = 4,
  kFixed32 = 5,
};
constexpr std::uint32_t kWireTypeBits = 3;
constexpr int kDepthMax = 100;  // of messages and groups, as in the generated parser

constexpr std::uint32_t varint_tag(std::uint32_t field) { return field << kWireTypeBits | kVarint; }
constexpr std::uint32_t bytes_tag(std::uint32_t field) { return field << kWireTypeBits | kBytes; }

bool is_utf8(std::string_view text) {
  const char* p = text.data();
  std::size_t left = text.size();
  std::uint64_t high = 0;
  for (; left >= 8; left -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, sizeof word);
    high |= word;
  }
  for (; left > 0; --left, ++p) high |= static_cast<unsigned char>(*p);
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  return (high & kHighBits) == 0 || simdjson::validate_utf8(text.data(), text.size());
}

// Reads one message from its first byte to its last.  Every method is false for what the generated
// parser refuses.
class WireReader {
 public:
  WireReader(std::string_view message, int depth)
      : p_(reinterpret_cast<const unsigned char*>(message.data())),
        end_(p_ + message.size()),
        depth_(depth) {}

  bool is_at_end() const { return p_ == end_; }
  int depth() const { return depth_; }

  bool read_tag(std::uint32_t& tag) {
    std::uint64_t value = 0;
    if (!read_varint(value, kTagBytesMax)) return false;
    tag = static_cast<std::uint32_t>(value);
    return tag >> kWireTypeBits != 0;
  }

  template <class T>
  bool read_number(T& out) {
    std::uint64_t value = 0;
    if (!read_varint(value, kVarintBytesMax)) return false;
    // To 32 bits as the generated parser does it, also for enums: they are open.
    if constexpr (std::is_enum_v<T>) {
      out = static_cast<T>(static_cast<std::int32_t>(value));
    } else {
      out = static_cast<T>(value);
    }
    return true;
  }

  bool read_bytes(std::string_view& out) {
    std::uint64_t size = 0;
    if (!read_varint(size, kTagBytesMax) || size > static_cast<std::uint64_t>(end_ - p_))
      return false;
    out = {reinterpret_cast<const char*>(p_), static_cast<std::size_t>(size)};
    p_ += size;
    return true;
  }

  bool read_text(std::string_view& out) { return read_bytes(out) && is_utf8(out); }

  // The field behind `tag`, which nobody wants.
  bool skip(std::uint32_t tag) {
    std::uint64_t number;
    std::string_view bytes;
    switch (tag & ((1u << kWireTypeBits) - 1)) {
      case kVarint:
        return read_number(number);
      case kFixed64:
        return advance(8);
      case kBytes:
        return read_bytes(bytes);
      case kGroup:
        return skip_group(tag);
      case kFixed32:
        return advance(4);
      default:
        return false;  // the end of a group that nobody began
    }
  }

 private:
  static constexpr int kTagBytesMax = 5;
  static constexpr int kVarintBytesMax = 10;

  bool read_varint(std::uint64_t& value, int bytes_max) {
    if (p_ != end_ && *p_ < 0x80) {
      value = *p_++;
      return true;
    }
    std::uint64_t sum = 0;
    for (int i = 0; i < bytes_max && p_ != end_; ++i) {
      const std::uint64_t byte = *p_++;
      sum |= (byte & 0x7F) << (7 * i);
      if (byte < 0x80) {
        value = sum;
        return true;
      }
    }
    return false;
  }

  bool advance(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - p_) < bytes) return false;
    p_ += bytes;
    return true;
  }

  bool skip_group(std::uint32_t begin) {
    if (--depth_ < 0) return false;
    std::uint32_t tag = 0;
    for (;;) {
      if (!read_tag(tag)) return false;
      if (tag == begin + (kGroupEnd - kGroup)) break;
      if (!skip(tag)) return false;
    }
    ++depth_;
    return true;
  }

  const unsigned char* p_;
  const unsigned char* end_;
  int depth_;
};

bool read_source(WireReader in, EventView& event) {
  std::uint32_t tag = 0;
  while (!in.is_at_end()) {
    if (!in.read_tag(tag)) return false;
    bool is_read = false;
    switch (tag) {
      case bytes_tag(events::proto::Source::kLogIdFieldNumber):
        is_read = in.read_bytes(event.source_log);
        break;
      case varint_tag(events::proto::Source::kOffsetFieldNumber):
        is_read = in.read_number(event.source_offset);
        break;
      case varint_tag(events::proto::Source::kIndexFieldNumber):
        is_read = in.read_number(event.source_index);
        break;
      case varint_tag(events::proto::Source::kPartFieldNumber):
        is_read = in.read_number(event.source_part);
        break;
      default:
        is_read = in.skip(tag);
    }
    if (!is_read) return false;
  }
  return true;
}

bool read_context(WireReader in, ContextKeyView& context) {
  std::uint32_t tag = 0;
  while (!in.is_at_end()) {
    if (!in.read_tag(tag)) return false;
    bool is_read = false;
    switch (tag) {
      case bytes_tag(events::proto::ContextKey::kKindFieldNumber):
        is_read = in.read_text(context.kind);
        break;
      case bytes_tag(events::proto::ContextKey::kKeyFieldNumber):
        is_read = in.read_text(context.key);
        break;
      default:
        is_read = in.skip(tag);
    }
    if (!is_read) return false;
  }
  return true;
}

// Where the text of field `tag` belongs; null: it is none of the texts.
std::string_view* text_field(std::uint32_t tag, EventView& event) {
  using Event = events::proto::Event;
  switch (tag) {
    case bytes_tag(Event::kKeyFieldNumber):
      return &event.key;
    case bytes_tag(Event::kValueJsonFieldNumber):
      return &event.value_json;
    case bytes_tag(Event::kDefaultJsonFieldNumber):
      return &event.default_json;
    case bytes_tag(Event::kReasonJsonFieldNumber):
      return &event.reason_json;
    case bytes_tag(Event::kPrereqOfFieldNumber):
      return &event.prereq_of;
    case bytes_tag(Event::kDataJsonFieldNumber):
      return &event.data_json;
    case bytes_tag(Event::kUrlFieldNumber):
      return &event.url;
    case bytes_tag(Event::kSelectorFieldNumber):
      return &event.selector;
    case bytes_tag(Event::kContextJsonFieldNumber):
      return &event.context_json;
    case bytes_tag(Event::kContextKindsFieldNumber):
      return &event.context_kinds.emplace_back();
    case bytes_tag(Event::kSdkNameFieldNumber):
      return &event.sdk_name;
    case bytes_tag(Event::kSdkVersionFieldNumber):
      return &event.sdk_version;
    case bytes_tag(Event::kApplicationIdFieldNumber):
      return &event.application_id;
    case bytes_tag(Event::kApplicationVersionFieldNumber):
      return &event.application_version;
    case bytes_tag(Event::kRawJsonFieldNumber):
      return &event.raw_json;
    default:
      return nullptr;
  }
}

bool read_field(WireReader& in, std::uint32_t tag, EventView& event) {
  using Event = events::proto::Event;
  std::string_view bytes;
  switch (tag) {
    case bytes_tag(Event::kSourceFieldNumber):
      return in.read_bytes(bytes) && read_source(WireReader(bytes, in.depth() - 1), event);
    case varint_tag(Event::kKindFieldNumber):
      return in.read_number(event.kind);
    case varint_tag(Event::kEnvironmentIdFieldNumber):
      return in.read_number(event.environment_id);
    case varint_tag(Event::kReceivedUsFieldNumber):
      return in.read_number(event.received_us);
    case varint_tag(Event::kTimeUsFieldNumber):
      return in.read_number(event.time_us);
    case varint_tag(Event::kVariationFieldNumber):
      return in.read_number(event.variation.emplace());
    case varint_tag(Event::kVersionFieldNumber):
      return in.read_number(event.version.emplace());
    case varint_tag(Event::kMetricMicrosFieldNumber):
      return in.read_number(event.metric_micros.emplace());
    case varint_tag(Event::kSamplingRatioFieldNumber):
      return in.read_number(event.sampling_ratio.emplace());
    case bytes_tag(Event::kContextsFieldNumber):
      return in.read_bytes(bytes) &&
             read_context(WireReader(bytes, in.depth() - 1), event.contexts.emplace_back());
    case varint_tag(Event::kCountFieldNumber):
      return in.read_number(event.count);
    case varint_tag(Event::kUnknownFlagFieldNumber):
      return in.read_number(event.unknown_flag);
    case varint_tag(Event::kStartUsFieldNumber):
      return in.read_number(event.start_us);
    case varint_tag(Event::kNoiseFieldNumber):
      return in.read_number(event.noise);
    case varint_tag(Event::kInExperimentFieldNumber):
      return in.read_number(event.in_experiment);
    case varint_tag(Event::kDroppedEventsFieldNumber):
      return in.read_number(event.dropped_events);
    default: {
      std::string_view* text = text_field(tag, event);
      return text == nullptr ? in.skip(tag) : in.read_text(*text);
    }
  }
}

}  // namespace

void EventView::clear() {
  std::vector<ContextKeyView> contexts_memory = std::move(contexts);
  std::vector<std::string_view> kinds_memory = std::move(context_kinds);
  *this = {};
  contexts = std::move(contexts_memory);
  context_kinds = std::move(kinds_memory);
  contexts.clear();
  context_kinds.clear();
}

Result<void> view_event(std::string_view record, EventView& event) {
  FS_TRY(const std::string_view contents,
         events::record_contents(events::RecordKind::Event, record));
  event.clear();
  WireReader in(contents, kDepthMax);
  std::uint32_t tag = 0;
  while (!in.is_at_end()) {
    if (!in.read_tag(tag) || !read_field(in, tag, event))
      return fail(ErrorKind::DataLoss, "record cannot be read as Protobuf");
  }
  return {};
}

}  // namespace flagstream::lake
