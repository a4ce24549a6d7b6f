// Records of the topic `config`: kind, version, then a protobuf Record (config.proto).  Control
// writes them, every other role reads them.  Layout, rules for readers and a worked example:
// docs/formats/config-record.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "environment/config.pb.h"

namespace flagstream::environment {

inline constexpr std::string_view kConfigTopic = "config";
// One partition: the changes of all environments are in one order.
inline constexpr std::uint32_t kConfigPartitions = 1;

// Over these a record is refused, written or read.
inline constexpr std::size_t kConfigKeyBytesMax = 1024;
inline constexpr std::size_t kConfigDocumentBytesMax = 5 << 20;

// Whether a flag or a segment may have this key: 1 to 256 letters, digits, '.', '_' and '-'.
bool is_item_key(std::string_view text);

// The record as it is appended.  InvalidArgument where readers would refuse it.
Result<std::string> encode_config_record(const proto::Record& record);

// NotFound: a kind of record or of contents that this release does not know; count it and go on.
// InvalidArgument: a newer version of the layout.
// DataLoss: not our encoding; an item without environment id, revision, version or key; a marker
// without copy id; a document of a deleted item, or none of another; a field over its limit; a flag
// or segment whose key is none, or whose document has control characters: it would break the line
// of a server-sent event.  An item whose kind this release does not know is no error: its revision
// counts, its contents do not.
Result<proto::Record> decode_config_record(std::string_view record);

// What a gateway needs of a key: its SHA-256 and, of an SDK key, what checks the hashes of secure
// mode.  The text itself is not in it.
proto::Credential credential_of(proto::Credential::Kind kind, std::string_view key);

// The document of an item of kind ENVIRONMENT.  InvalidArgument: no key, or a credential whose kind
// is unknown, whose hash is not 32 bytes or whose HMAC state is neither absent nor 64 bytes.
Result<std::string> encode_environment(const proto::Environment& environment);
// DataLoss: not our encoding.  Credentials that this release does not understand are kept: skip
// them.
Result<proto::Environment> decode_environment(std::string_view document);

}  // namespace flagstream::environment
