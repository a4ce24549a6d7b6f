#include "events/event_view.h"

#include <array>
#include <cstring>

#include <simdjson.h>

#include "events/record.h"
#include "events/wire.h"

namespace flagstream::events {
namespace {

// As Protobuf: messages and groups in a message.
constexpr int kDepthMax = 100;
// More than a record's tags, sizes and numbers take, without its texts: 36 members at most.
constexpr std::size_t kFixedBytesMax = 36 * (2 + wire::kVarintBytesMax);

std::size_t number_bytes(std::uint64_t value) {
  return value == 0 ? 0 : 1 + wire::varint_size(value);
}
std::size_t text_bytes(std::string_view text) {
  return text.empty() ? 0 : 1 + wire::varint_size(text.size()) + text.size();
}

std::size_t message_bytes(const SourceView& source) {
  return text_bytes(source.log_id) + number_bytes(source.offset) + number_bytes(source.index) +
         number_bytes(source.part);
}
std::size_t message_bytes(const ContextKeyView& context) {
  return text_bytes(context.kind) + text_bytes(context.key) + (context.anonymous ? 2 : 0);
}

// An upper bound of the encoded size.
std::size_t bytes_max(const EventView& event) {
  constexpr std::size_t kContextFixedBytes = 2 + wire::kVarintBytesMax + 3 * 11;
  std::size_t bytes = kFixedBytesMax + event.source.log_id.size() + 40;
  for (const std::string_view text :
       {event.key, event.value_json, event.default_json, event.reason_json, event.prereq_of,
        event.data_json, event.url, event.selector, event.context_json, event.sdk_name,
        event.sdk_version, event.application_id, event.application_version, event.raw_json})
    bytes += text.size();
  for (const ContextKeyView& context : event.contexts)
    bytes += kContextFixedBytes + context.kind.size() + context.key.size();
  for (const std::string_view kind : event.context_kinds)
    bytes += 2 + wire::kVarintBytesMax + kind.size();
  return bytes;
}

void write(const SourceView& source, wire::Writer& out) {
  out.tag(1, wire::Type::Bytes);
  out.varint(message_bytes(source));
  out.bytes_if(1, source.log_id);
  out.number_if(2, source.offset);
  out.number_if(3, source.index);
  out.number_if(4, source.part);
}

void write(const ContextKeyView& context, wire::Writer& out) {
  out.tag(18, wire::Type::Bytes);
  out.varint(message_bytes(context));
  out.bytes_if(1, context.kind);
  out.bytes_if(2, context.key);
  out.number_if(3, context.anonymous);
}

// Negative numbers take ten bytes, whatever their type.
std::uint64_t wide(std::int64_t number) { return static_cast<std::uint64_t>(number); }

template <class Number>
void write_optional(std::uint32_t field, const std::optional<Number>& number, wire::Writer& out) {
  if (number) out.number(field, wide(*number));
}

// In the order of the fields' numbers, as Protobuf does.
void write(const EventView& event, wire::Writer& out) {
  write(event.source, out);
  out.number_if(2, wide(event.kind));
  out.number_if(3, event.environment_id);
  out.number_if(4, wide(event.received_us));
  out.number_if(5, wide(event.time_us));
  out.bytes_if(6, event.key);
  write_optional(7, event.variation, out);
  write_optional(8, event.version, out);
  out.bytes_if(9, event.value_json);
  out.bytes_if(10, event.default_json);
  out.bytes_if(11, event.reason_json);
  out.bytes_if(12, event.prereq_of);
  out.bytes_if(13, event.data_json);
  write_optional(14, event.metric_micros, out);
  out.bytes_if(15, event.url);
  out.bytes_if(16, event.selector);
  write_optional(17, event.sampling_ratio, out);
  for (const ContextKeyView& context : event.contexts) write(context, out);
  out.bytes_if(19, event.context_json);
  for (const std::string_view kind : event.context_kinds) out.bytes(20, kind);
  out.number_if(21, wide(event.count));
  out.number_if(22, event.unknown_flag);
  out.number_if(23, wide(event.start_us));
  out.bytes_if(24, event.sdk_name);
  out.bytes_if(25, event.sdk_version);
  out.bytes_if(26, event.application_id);
  out.bytes_if(27, event.application_version);
  out.number_if(28, event.noise);
  out.bytes_if(29, event.raw_json);
  out.number_if(30, event.in_experiment);
  out.number_if(31, wide(event.dropped_events));
  out.number_if(40, wide(event.outcome));
  out.number_if(41, event.events_accepted);
  out.number_if(42, event.events_rejected);
  out.number_if(43, event.body_bytes);
}

// Most texts are ASCII, which is seen eight bytes at a time.
bool is_utf8(std::string_view text) {
  constexpr std::uint64_t kHighBits = 0x8080'8080'8080'8080;
  std::uint64_t seen = 0;
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, sizeof word);
    seen |= word;
  }
  if (at < text.size()) {
    std::uint64_t word = 0;
    if (text.size() >= 8) {
      std::memcpy(&word, text.data() + text.size() - 8, sizeof word);
    } else {
      for (; at < text.size(); ++at) word |= static_cast<unsigned char>(text[at]);
    }
    seen |= word;
  }
  return (seen & kHighBits) == 0 || simdjson::validate_utf8(text.data(), text.size());
}

constexpr std::uint32_t tag_of(std::uint32_t field, wire::Type type) {
  return field << 3 | static_cast<std::uint32_t>(type);
}
constexpr std::uint32_t number_tag(std::uint32_t field) {
  return tag_of(field, wire::Type::Varint);
}
constexpr std::uint32_t bytes_tag(std::uint32_t field) { return tag_of(field, wire::Type::Bytes); }

// Reads text; false: it is none.
bool read_text(wire::Reader& in, std::string_view& out) {
  out = in.bytes();
  return is_utf8(out);
}

bool read(std::string_view message, SourceView& source) {
  wire::Reader in(message);
  while (!in.is_at_end()) {
    const std::uint32_t tag = in.tag();
    switch (tag) {
      case bytes_tag(1):
        source.log_id = in.bytes();
        break;
      case number_tag(2):
        source.offset = in.varint();
        break;
      case number_tag(3):
        source.index = static_cast<std::uint32_t>(in.varint());
        break;
      case number_tag(4):
        source.part = static_cast<std::uint32_t>(in.varint());
        break;
      default:
        if (tag >> 3 == 0) return false;
        in.skip(tag, kDepthMax - 1);
    }
  }
  return !in.has_failed();
}

bool read(std::string_view message, ContextKeyView& context) {
  wire::Reader in(message);
  while (!in.is_at_end()) {
    const std::uint32_t tag = in.tag();
    switch (tag) {
      case bytes_tag(1):
        if (!read_text(in, context.kind)) return false;
        break;
      case bytes_tag(2):
        if (!read_text(in, context.key)) return false;
        break;
      case number_tag(3):
        context.anonymous = in.varint() != 0;
        break;
      default:
        if (tag >> 3 == 0) return false;
        in.skip(tag, kDepthMax - 1);
    }
  }
  return !in.has_failed();
}

// The members that are texts, by field number.
constexpr auto kTexts = [] {
  std::array<std::string_view EventView::*, 32> texts{};
  texts[6] = &EventView::key;
  texts[9] = &EventView::value_json;
  texts[10] = &EventView::default_json;
  texts[11] = &EventView::reason_json;
  texts[12] = &EventView::prereq_of;
  texts[13] = &EventView::data_json;
  texts[15] = &EventView::url;
  texts[16] = &EventView::selector;
  texts[19] = &EventView::context_json;
  texts[24] = &EventView::sdk_name;
  texts[25] = &EventView::sdk_version;
  texts[26] = &EventView::application_id;
  texts[27] = &EventView::application_version;
  texts[29] = &EventView::raw_json;
  return texts;
}();

// False: the field is no number.
bool set_number(EventView& event, std::uint32_t tag, wire::Reader& in) {
  const auto whole = [&in] { return static_cast<std::int64_t>(in.varint()); };
  const auto small = [&in] { return static_cast<std::uint32_t>(in.varint()); };
  switch (tag) {
    case number_tag(2):
      event.kind = static_cast<proto::EventKind>(small());
      return true;
    case number_tag(3):
      event.environment_id = in.varint();
      return true;
    case number_tag(4):
      event.received_us = whole();
      return true;
    case number_tag(5):
      event.time_us = whole();
      return true;
    case number_tag(7):
      event.variation = static_cast<std::int32_t>(small());
      return true;
    case number_tag(8):
      event.version = whole();
      return true;
    case number_tag(14):
      event.metric_micros = whole();
      return true;
    case number_tag(17):
      event.sampling_ratio = whole();
      return true;
    case number_tag(21):
      event.count = whole();
      return true;
    case number_tag(22):
      event.unknown_flag = in.varint() != 0;
      return true;
    case number_tag(23):
      event.start_us = whole();
      return true;
    case number_tag(28):
      event.noise = small();
      return true;
    case number_tag(30):
      event.in_experiment = in.varint() != 0;
      return true;
    case number_tag(31):
      event.dropped_events = whole();
      return true;
    case number_tag(40):
      event.outcome = static_cast<proto::Event::Outcome>(small());
      return true;
    case number_tag(41):
      event.events_accepted = small();
      return true;
    case number_tag(42):
      event.events_rejected = small();
      return true;
    case number_tag(43):
      event.body_bytes = in.varint();
      return true;
    default:
      return false;
  }
}

}  // namespace

void encode_event(const EventView& event, std::string& out) {
  append_record_prefix(RecordKind::Event, out);
  const std::size_t before = out.size();
  out.resize_and_overwrite(before + bytes_max(event), [&](char* begin, std::size_t) {
    wire::Writer writer(begin + before);
    write(event, writer);
    return static_cast<std::size_t>(writer.at() - begin);
  });
}

bool EventViewReader::read_bytes(std::uint32_t field, wire::Reader& in) {
  if (field < kTexts.size() && kTexts[field] != nullptr)
    return read_text(in, event_.*kTexts[field]);
  switch (field) {
    case 0:
      return false;
    case 1:
      return events::read(in.bytes(), event_.source);
    case 18:
      return events::read(in.bytes(), contexts_.emplace_back());
    case 20:
      return read_text(in, context_kinds_.emplace_back());
    default:
      in.bytes();
      return true;
  }
}

bool EventViewReader::read_message(std::string_view message) {
  wire::Reader in(message);
  while (!in.is_at_end()) {
    const std::uint32_t tag = in.tag();
    if (static_cast<wire::Type>(tag & 7) == wire::Type::Bytes) {
      if (!read_bytes(tag >> 3, in)) return false;
    } else if (!set_number(event_, tag, in)) {
      if (tag >> 3 == 0) return false;
      in.skip(tag, kDepthMax);
    }
  }
  return !in.has_failed();
}

Result<const EventView*> EventViewReader::read(std::string_view record) {
  FS_TRY(const std::string_view contents, record_contents(RecordKind::Event, record));
  event_ = {};
  contexts_.clear();
  context_kinds_.clear();
  if (!read_message(contents))
    return fail(ErrorKind::DataLoss, "record cannot be read as Protobuf");
  event_.contexts = contexts_;
  event_.context_kinds = context_kinds_;
  return &event_;
}

}  // namespace flagstream::events
