#include "environment/membership_record.h"

#include <optional>

#include "base/hash.h"
#include "log/log.h"

namespace flagstream::environment {
namespace {

constexpr auto kRecordKind = static_cast<char>(log::RecordKind::Membership);
constexpr std::uint8_t kRecordVersion = 1;
constexpr std::size_t kRecordPrefixBytes = 2;

std::optional<std::string_view> fault_of(const proto::MembershipChange& change) {
  if (change.sequence() == 0) return "no sequence number";
  if (change.environment_id() == 0) return "no environment id";
  if (change.generation() == 0) return "no generation";
  std::size_t bytes = 0;
  for (const std::string* each : {&change.included_add(), &change.included_remove(),
                                  &change.excluded_add(), &change.excluded_remove()}) {
    if (each->size() % kMemberBytes != 0) return "part of a member";
    bytes += each->size();
  }
  if (bytes > kMembersPerRecordMax * kMemberBytes) return "too many members";
  return std::nullopt;
}

}  // namespace

Id128 member_of(std::string_view context_key) {
  return *Id128::from_bytes(std::string_view(sha256(context_key)).substr(0, kMemberBytes));
}

Result<std::string> encode_membership_record(const proto::MembershipChange& change) {
  if (const auto fault = fault_of(change))
    return fail(ErrorKind::InvalidArgument, "membership record: " + std::string(*fault));
  std::string out;
  out.reserve(kRecordPrefixBytes + change.ByteSizeLong());
  out += kRecordKind;
  out += static_cast<char>(kRecordVersion);
  change.AppendToString(&out);
  return out;
}

Result<proto::MembershipChange> decode_membership_record(std::string_view record) {
  if (record.size() < kRecordPrefixBytes)
    return fail(ErrorKind::DataLoss, "membership record: shorter than its prefix");
  if (record[0] != kRecordKind)
    return fail(ErrorKind::NotFound, "membership record: unknown kind " +
                                         std::to_string(static_cast<std::uint8_t>(record[0])));
  const auto version = static_cast<std::uint8_t>(record[1]);
  if (version == 0) return fail(ErrorKind::DataLoss, "membership record: version 0 does not exist");
  if (version > kRecordVersion) {
    return fail(ErrorKind::InvalidArgument,
                "membership record: version " + std::to_string(version) +
                    " was written by a newer release; this one reads up to " +
                    std::to_string(kRecordVersion));
  }
  record.remove_prefix(kRecordPrefixBytes);
  proto::MembershipChange change;
  if (!change.ParseFromArray(record.data(), static_cast<int>(record.size())))
    return fail(ErrorKind::DataLoss, "membership record: damaged encoding");
  if (const auto fault = fault_of(change))
    return fail(ErrorKind::DataLoss, "membership record: " + std::string(*fault));
  return change;
}

}  // namespace flagstream::environment
