#include "events/event.h"

#include "events/record.h"

namespace flagstream::events {
namespace {

void encode(RecordKind kind, const google::protobuf::MessageLite& message, std::string& out) {
  append_record_prefix(kind, out);
  message.AppendToString(&out);
}

Result<void> decode(RecordKind kind, std::string_view record,
                    google::protobuf::MessageLite& message) {
  FS_TRY(const std::string_view contents, record_contents(kind, record));
  if (!message.ParseFromArray(contents.data(), static_cast<int>(contents.size()))) {
    return fail(ErrorKind::DataLoss, "record cannot be read as Protobuf");
  }
  return {};
}

}  // namespace

void encode_event(const proto::Event& event, std::string& out) {
  encode(RecordKind::Event, event, out);
}
void encode_reject(const proto::Reject& reject, std::string& out) {
  encode(RecordKind::Reject, reject, out);
}

Result<void> decode_event(std::string_view record, proto::Event& event) {
  return decode(RecordKind::Event, record, event);
}

Result<void> decode_reject(std::string_view record, proto::Reject& reject) {
  return decode(RecordKind::Reject, record, reject);
}

}  // namespace flagstream::events
