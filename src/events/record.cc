#include "events/record.h"

#include "base/bytes.h"

namespace flagstream::events {

std::optional<RecordKind> record_kind(std::string_view record) {
  if (record.empty()) return std::nullopt;
  const auto kind = static_cast<RecordKind>(record.front());
  switch (kind) {
    case RecordKind::Payload:
    case RecordKind::Tick:
    case RecordKind::Event:
    case RecordKind::Reject:
      return kind;
  }
  return std::nullopt;
}

Result<std::string_view> record_contents(RecordKind kind, std::string_view record) {
  if (record.size() < kRecordPrefixBytes)
    return fail(ErrorKind::DataLoss, "record shorter than its prefix");
  if (static_cast<RecordKind>(record[0]) != kind)
    return fail(ErrorKind::DataLoss, "record of another kind");
  const auto version = static_cast<std::uint8_t>(record[1]);
  if (version == 0) return fail(ErrorKind::DataLoss, "record version 0 does not exist");
  if (version > kRecordVersion) {
    return fail(ErrorKind::InvalidArgument,
                "record version " + std::to_string(version) +
                    " was written by a newer release; this one reads up to " +
                    std::to_string(kRecordVersion));
  }
  return record.substr(kRecordPrefixBytes);
}

void append_record_prefix(RecordKind kind, std::string& out) {
  out += static_cast<char>(kind);
  out += static_cast<char>(kRecordVersion);
}

std::string tick_record() {
  std::string out;
  append_record_prefix(RecordKind::Tick, out);
  return out;
}

std::string tick_record(MicrosUtc time) {
  std::string out = tick_record();
  append_le(out, time);
  return out;
}

MicrosUtc tick_time(std::string_view record, MicrosUtc append_time) {
  if (record.size() < kRecordPrefixBytes + sizeof(MicrosUtc)) return append_time;
  return get_le<MicrosUtc>(record.data() + kRecordPrefixBytes);
}

}  // namespace flagstream::events
