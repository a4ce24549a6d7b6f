#include "events/payload.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "events/record.h"

namespace flagstream::events {

std::string encode_payload_head(const proto::PayloadHeader& header) {
  const auto header_bytes = static_cast<std::uint32_t>(header.ByteSizeLong());
  std::string out;
  out.reserve(kRecordPrefixBytes + sizeof header_bytes + header_bytes);
  append_record_prefix(RecordKind::Payload, out);
  append_le(out, header_bytes);
  header.AppendToString(&out);
  return out;
}

Result<PayloadRecord> decode_payload(std::string_view record) {
  FS_TRY(std::string_view rest, record_contents(RecordKind::Payload, record));
  if (rest.size() < sizeof(std::uint32_t))
    return fail(ErrorKind::DataLoss, "payload record ends in its header size");
  const std::uint32_t header_bytes = get_u32(rest.data());
  rest.remove_prefix(sizeof header_bytes);
  if (header_bytes > kPayloadHeaderBytesMax)
    return fail(ErrorKind::DataLoss, "payload header size over its limit");
  if (rest.size() < header_bytes)
    return fail(ErrorKind::DataLoss, "payload record ends in its header");
  PayloadRecord payload;
  if (!payload.header.ParseFromArray(rest.data(), static_cast<int>(header_bytes))) {
    return fail(ErrorKind::DataLoss, "payload header cannot be read");
  }
  payload.body = rest.substr(header_bytes);
  return payload;
}

std::string payload_identity(const proto::PayloadHeader& header) {
  std::string identity;
  append_be64(identity, header.environment_id());
  identity += header.payload_id().empty() ? header.receipt_id() : header.payload_id();
  return identity;
}

std::uint32_t slot_of_identity(std::string_view identity) {
  return static_cast<std::uint32_t>(xxh3_128(identity).low % kSlots);
}

std::uint32_t partition_of_slot(std::uint32_t slot, std::uint32_t partitions) {
  return slot % partitions;
}

}  // namespace flagstream::events
