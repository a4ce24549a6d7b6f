// A payload record: one POST body of an SDK exactly as received, and what the gateway knows about
// it.
//
//     kind:u8=1  version:u8=1  header_bytes:u32le  PayloadHeader[header_bytes]  body[rest]
//
// Layout with a worked example: docs/formats/records.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "events/event.pb.h"

namespace flagstream::events {

// A header larger than this is damage: its texts come from request headers, which are limited far
// below.
inline constexpr std::uint32_t kPayloadHeaderBytesMax = 1 << 20;

// The record up to its body, so that a body need not be copied to be appended: {head, body} is the
// record.
std::string encode_payload_head(const proto::PayloadHeader& header);

struct PayloadRecord {
  proto::PayloadHeader header;
  std::string_view body;  // points into the record given to decode_payload()
};

// DataLoss: not a whole payload record.  InvalidArgument: written by a newer release.
Result<PayloadRecord> decode_payload(std::string_view record);

// The bytes by which a payload counts once: environment id (8 bytes, big-endian), then the SDK's
// payload id, or the 16 bytes of the receipt id where the SDK sent none.
std::string payload_identity(const proto::PayloadHeader& header);

// Slots divide identities for ever; partitions divide slots.  Every key of a stage's store begins
// with the slot.
inline constexpr std::uint32_t kSlots = 1024;

// XXH3-128 of the identity, lower half, modulo kSlots.
std::uint32_t slot_of_identity(std::string_view identity);
// Precondition: partitions > 0.
std::uint32_t partition_of_slot(std::uint32_t slot, std::uint32_t partitions);

}  // namespace flagstream::events
