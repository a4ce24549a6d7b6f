// Records of the topics `events` and `rejects.*`:
//
//     kind:u8=3 (Event) or 4 (Reject)  version:u8=1  Protobuf[rest]
//
// Layout with worked examples: docs/formats/records.md.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "events/event.pb.h"

namespace flagstream::events {

// Append the whole record to `out`.  Equal messages give equal bytes.
void encode_event(const proto::Event& event, std::string& out);
void encode_reject(const proto::Reject& reject, std::string& out);

// Replaces the contents of `event`, reusing its memory.  DataLoss: not a whole record of that kind.
// InvalidArgument: written by a newer release.
Result<void> decode_event(std::string_view record, proto::Event& event);
Result<void> decode_reject(std::string_view record, proto::Reject& reject);

}  // namespace flagstream::events
