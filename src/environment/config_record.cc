#include "environment/config_record.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/hash.h"

namespace flagstream::environment {
namespace {

constexpr char kRecordKind = 5;  // log::RecordKind::Config
constexpr std::uint8_t kRecordVersion = 1;
constexpr std::size_t kRecordPrefixBytes = 2;
constexpr int kSha256Bytes = 32;

constexpr std::size_t kItemKeyBytesMax = 256;

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20; }

std::optional<std::string_view> fault_of(const proto::Item& item) {
  if (item.environment_id() == 0) return "item without environment id";
  if (item.revision() == 0) return "item without revision";
  if (item.version() <= 0) return "item without version";
  if (item.key().empty()) return "item without key";
  if (item.key().size() > kConfigKeyBytesMax) return "item with an over-long key";
  if (item.document().size() > kConfigDocumentBytesMax) return "item with an over-long document";
  if (item.deleted() && !item.document().empty()) return "deleted item with a document";
  if (!item.deleted() && item.document().empty()) return "item without document";
  if (item.has_copy_id() && item.copy_id() == 0) return "item of copy 0";
  if (item.kind() != proto::Item::FLAG && item.kind() != proto::Item::SEGMENT) return std::nullopt;
  if (!is_item_key(item.key())) return "flag or segment whose key is none";
  if (std::ranges::any_of(item.document(), is_control))
    return "flag or segment with a control character in its document";
  return std::nullopt;
}

std::optional<std::string_view> fault_of(const proto::Record& record) {
  switch (record.contents_case()) {
    case proto::Record::kItem:
      return fault_of(record.item());
    case proto::Record::kCopyBegin:
      if (record.copy_begin().copy_id() == 0) return "begin of copy 0";
      return std::nullopt;
    case proto::Record::kCopyEnd:
      if (record.copy_end().copy_id() == 0) return "end of copy 0";
      return std::nullopt;
    case proto::Record::CONTENTS_NOT_SET:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

bool is_item_key(std::string_view text) {
  const auto is_allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= kItemKeyBytesMax && std::ranges::all_of(text, is_allowed);
}

Result<std::string> encode_config_record(const proto::Record& record) {
  if (record.contents_case() == proto::Record::CONTENTS_NOT_SET)
    return fail(ErrorKind::InvalidArgument, "config record without contents");
  if (const auto fault = fault_of(record))
    return fail(ErrorKind::InvalidArgument, "config record: " + std::string(*fault));
  std::string out;
  out.reserve(kRecordPrefixBytes + record.ByteSizeLong());
  out += kRecordKind;
  out += static_cast<char>(kRecordVersion);
  // Fails only for text that is not UTF-8.
  if (!record.AppendToString(&out))
    return fail(ErrorKind::InvalidArgument, "config record: cannot be encoded");
  return out;
}

Result<proto::Record> decode_config_record(std::string_view record) {
  if (record.size() < kRecordPrefixBytes)
    return fail(ErrorKind::DataLoss, "config record: shorter than its prefix");
  if (record[0] != kRecordKind)
    return fail(ErrorKind::NotFound, "config record: unknown kind " +
                                         std::to_string(static_cast<std::uint8_t>(record[0])));
  const auto version = static_cast<std::uint8_t>(record[1]);
  if (version == 0) return fail(ErrorKind::DataLoss, "config record: version 0 does not exist");
  if (version > kRecordVersion) {
    return fail(ErrorKind::InvalidArgument,
                "config record: version " + std::to_string(version) +
                    " was written by a newer release; this one reads up to " +
                    std::to_string(kRecordVersion));
  }
  record.remove_prefix(kRecordPrefixBytes);
  proto::Record decoded;
  if (!decoded.ParseFromArray(record.data(), static_cast<int>(record.size())))
    return fail(ErrorKind::DataLoss, "config record: damaged encoding");
  if (decoded.contents_case() == proto::Record::CONTENTS_NOT_SET)
    return fail(ErrorKind::NotFound, "config record: unknown contents");
  if (const auto fault = fault_of(decoded))
    return fail(ErrorKind::DataLoss, "config record: " + std::string(*fault));
  return decoded;
}

proto::Credential credential_of(proto::Credential::Kind kind, std::string_view key) {
  proto::Credential credential;
  credential.set_kind(kind);
  credential.set_sha256(sha256(key));
  if (kind == proto::Credential::SDK_KEY) credential.set_hmac_state(hmac_sha256_state(key));
  return credential;
}

Result<std::string> encode_environment(const proto::Environment& environment) {
  if (environment.key().empty()) return fail(ErrorKind::InvalidArgument, "environment without key");
  for (const auto& credential : environment.credentials()) {
    if (credential.kind() != proto::Credential::SDK_KEY &&
        credential.kind() != proto::Credential::MOBILE_KEY)
      return fail(ErrorKind::InvalidArgument, "credential of unknown kind");
    if (credential.sha256().size() != kSha256Bytes)
      return fail(ErrorKind::InvalidArgument, "credential whose hash is not 32 bytes");
    if (!credential.hmac_state().empty() && credential.hmac_state().size() != kHmacSha256StateBytes)
      return fail(ErrorKind::InvalidArgument, "credential whose HMAC state is not 64 bytes");
  }
  std::string out;
  if (!environment.SerializeToString(&out))
    return fail(ErrorKind::InvalidArgument, "environment cannot be encoded");
  return out;
}

Result<proto::Environment> decode_environment(std::string_view document) {
  proto::Environment environment;
  if (!environment.ParseFromArray(document.data(), static_cast<int>(document.size())))
    return fail(ErrorKind::DataLoss, "environment: damaged encoding");
  return environment;
}

}  // namespace flagstream::environment
