// The two bytes that begin every record of the topics `payloads`, `events` and `rejects.*`.
// Layout and worked examples: docs/formats/records.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace flagstream::events {

// Byte 0.  The same numbers as log::RecordKind, which names the kinds of every topic.
enum class RecordKind : std::uint8_t {
  Payload = 1,
  Tick = 2,
  Event = 3,
  Reject = 4,
};

// Byte 1: version of the kind's layout.  Added Protobuf fields do not change it.
inline constexpr std::uint8_t kRecordVersion = 1;
inline constexpr std::size_t kRecordPrefixBytes = 2;

// nullopt: the record is empty or of a kind that this module does not know; skip and count it.
std::optional<RecordKind> record_kind(std::string_view record);

// What follows the prefix of a record that must be of `kind`.  DataLoss: too short, or of another
// kind. InvalidArgument: its version is newer than this program reads.
Result<std::string_view> record_contents(RecordKind kind, std::string_view record);

// Appends the prefix of a record of `kind`.
void append_record_prefix(RecordKind kind, std::string& out);

// A record that says only that time passes in an idle partition.
std::string tick_record();
// As a stage passes it on: `time` is when it was first appended.
std::string tick_record(MicrosUtc time);
// Up to when time has passed in the partition: as the tick says, or else `append_time`, its
// frame's. A stage that lags passes on old times in new frames.
MicrosUtc tick_time(std::string_view record, MicrosUtc append_time);

}  // namespace flagstream::events
