// Records of the topic `memberships`: kind, version, then a protobuf MembershipChange
// (memberships.proto).  Control writes them, gateways read them: docs/formats/membership-record.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/id.h"
#include "environment/memberships.pb.h"

namespace flagstream::environment {

inline constexpr std::string_view kMembershipsTopic = "memberships";
// One partition: the changes of all segments are in one order.
inline constexpr std::uint32_t kMembershipsPartitions = 1;
inline constexpr std::size_t kMemberBytes = 16;
inline constexpr std::size_t kMembersPerRecordMax = 65'536;

// The first 16 bytes of the SHA-256 of the key: what is stored of a member.
Id128 member_of(std::string_view context_key);

// InvalidArgument where readers would refuse it.
Result<std::string> encode_membership_record(const proto::MembershipChange& change);

// NotFound: a kind of record that this release does not know; count it and go on.
// InvalidArgument: a newer version of the layout.
// DataLoss: not our encoding; without sequence, environment or generation; a list that is no whole
// number of members; too many of them.
Result<proto::MembershipChange> decode_membership_record(std::string_view record);

}  // namespace flagstream::environment
