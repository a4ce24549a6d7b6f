#include "catalog/members.h"

#include <algorithm>

#include "base/assert.h"
#include "environment/membership_record.h"

namespace flagstream::catalog {
namespace {

constexpr std::int64_t kIncluded = 1;
constexpr std::int64_t kExcluded = 2;
constexpr std::size_t kHandedOutTogether = 32'768;

environment::proto::MembershipChange change_of(EnvironmentId environment, std::int64_t generation,
                                               std::int64_t sequence) {
  environment::proto::MembershipChange change;
  change.set_sequence(static_cast<std::uint64_t>(sequence));
  change.set_environment_id(to_number(environment));
  change.set_generation(static_cast<std::uint64_t>(generation));
  return change;
}

std::string bytes_of(const std::string& context_key) {
  return environment::member_of(context_key).to_bytes();
}

}  // namespace

Result<std::int64_t> Members::next_sequence() {
  FS_TRY(auto take,
         database_.prepare(
             "UPDATE counters SET next = next + 1 WHERE name = 'membership' RETURNING next - 1"));
  FS_TRY(const bool found, take.step());
  FS_ASSERT(found, "every counter is made with the schema");
  return take.integer(0);
}

Result<std::int64_t> Members::last_sequence() {
  FS_TRY(auto read, database_.prepare("SELECT next - 1 FROM counters WHERE name = 'membership'"));
  FS_TRY(const bool found, read.step());
  FS_ASSERT(found, "every counter is made with the schema");
  return read.integer(0);
}

Result<void> Members::add_record(std::int64_t sequence, const std::string& record) {
  FS_TRY(auto insert,
         database_.prepare("INSERT INTO membership_outbox (sequence, record) VALUES (?1, ?2)"));
  return insert.bind(1, sequence).bind_blob(2, record).run();
}

Result<std::int64_t> Members::begin_generation(EnvironmentId environment) {
  FS_TRY(const std::int64_t sequence, next_sequence());
  auto change = change_of(environment, sequence, sequence);
  change.set_reset(true);
  FS_TRY(const std::string record, environment::encode_membership_record(change));
  FS_TRY(auto insert,
         database_.prepare(
             "INSERT INTO membership_generations (generation, environment_id) VALUES (?1, ?2)"));
  FS_TRY(insert.bind(1, sequence).bind(2, to_number(environment)).run());
  FS_TRY(add_record(sequence, record));
  return sequence;
}

Result<void> Members::store(std::int64_t generation, const std::vector<std::string>& keys,
                            std::int64_t bit, bool adds, std::string& hashes) {
  FS_TRY(auto add, database_.prepare(
                       "INSERT INTO memberships (generation, member, state) VALUES (?1, ?2, ?3) "
                       "ON CONFLICT (generation, member) DO UPDATE SET state = state | ?3"));
  FS_TRY(auto remove, database_.prepare("UPDATE memberships SET state = state & ~?3 "
                                        "WHERE generation = ?1 AND member = ?2"));
  FS_TRY(auto sweep,
         database_.prepare(
             "DELETE FROM memberships WHERE generation = ?1 AND member = ?2 AND state = 0"));
  for (const std::string& key : keys) {
    const std::string member = bytes_of(key);
    FS_TRY((adds ? add : remove).bind(1, generation).bind_blob(2, member).bind(3, bit).run());
    if (!adds) FS_TRY(sweep.bind(1, generation).bind_blob(2, member).run());
    hashes += member;
  }
  return {};
}

Result<std::int64_t> Members::change(EnvironmentId environment, std::int64_t generation,
                                     const MemberChange& change) {
  if (change.size() > environment::kMembersPerRecordMax) {
    return fail(ErrorKind::TooLarge, "at most " +
                                         std::to_string(environment::kMembersPerRecordMax) +
                                         " contexts can be added and removed together");
  }
  FS_TRY(const std::int64_t sequence, next_sequence());
  auto out = change_of(environment, generation, sequence);
  // In the order of those who read the record: what is removed and added is there.
  FS_TRY(
      store(generation, change.included_remove, kIncluded, false, *out.mutable_included_remove()));
  FS_TRY(
      store(generation, change.excluded_remove, kExcluded, false, *out.mutable_excluded_remove()));
  FS_TRY(store(generation, change.included_add, kIncluded, true, *out.mutable_included_add()));
  FS_TRY(store(generation, change.excluded_add, kExcluded, true, *out.mutable_excluded_add()));
  FS_TRY(const std::string record, environment::encode_membership_record(out));
  FS_TRY(add_record(sequence, record));
  return sequence;
}

Result<std::int64_t> Members::end_generation(EnvironmentId environment, std::int64_t generation) {
  FS_TRY(auto members, database_.prepare("DELETE FROM memberships WHERE generation = ?1"));
  FS_TRY(members.bind(1, generation).run());
  FS_TRY(auto itself,
         database_.prepare("DELETE FROM membership_generations WHERE generation = ?1"));
  FS_TRY(itself.bind(1, generation).run());
  FS_TRY(const std::int64_t sequence, next_sequence());
  auto change = change_of(environment, generation, sequence);
  change.set_reset(true);
  FS_TRY(const std::string record, environment::encode_membership_record(change));
  FS_TRY(add_record(sequence, record));
  return sequence;
}

Result<Membership> Members::membership(std::int64_t generation, const std::string& context_key) {
  FS_TRY(auto read,
         database_.prepare("SELECT state FROM memberships WHERE generation = ?1 AND member = ?2"));
  FS_TRY(const bool found, read.bind(1, generation).bind_blob(2, bytes_of(context_key)).step());
  const std::int64_t state = found ? read.integer(0) : 0;
  return Membership{.is_included = (state & kIncluded) != 0,
                    .is_excluded = (state & kExcluded) != 0};
}

Result<std::int64_t> Members::count(std::int64_t generation) {
  FS_TRY(auto read, database_.prepare("SELECT count(*) FROM memberships WHERE generation = ?1"));
  FS_TRY(read.bind(1, generation).step());
  return read.integer(0);
}

Result<std::vector<WaitingMembers>> Members::oldest(std::size_t bytes_max) {
  FS_TRY(auto read,
         database_.prepare("SELECT sequence, record FROM membership_outbox ORDER BY sequence"));
  std::vector<WaitingMembers> all;
  std::size_t bytes = 0;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return all;
    bytes += read.text(1).size();
    if (!all.empty() && bytes > bytes_max) return all;
    all.push_back({.sequence = read.integer(0), .record = std::string(read.text(1))});
  }
}

Result<void> Members::remove_through(std::int64_t sequence) {
  FS_TRY(auto remove, database_.prepare("DELETE FROM membership_outbox WHERE sequence <= ?1"));
  return remove.bind(1, sequence).run();
}

Result<bool> Members::reconcile(std::int64_t last_in_log) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(remove_through(last_in_log));
  FS_TRY(auto read, database_.prepare("SELECT next - 1, (SELECT count(*) FROM membership_outbox) "
                                      "FROM counters WHERE name = 'membership'"));
  FS_TRY(read.step());
  const std::int64_t last_here = read.integer(0);
  const bool is_together = last_in_log + read.integer(1) == last_here;
  read.reset();
  if (!is_together) {
    FS_TRY(auto raise,
           database_.prepare("UPDATE counters SET next = max(next, ?1) WHERE name = 'membership'"));
    FS_TRY(raise.bind(1, last_in_log + 1).run());
    FS_TRY(hand_out_all());
  }
  FS_TRY(transaction.commit());
  return !is_together;
}

Result<void> Members::hand_out_all() {
  FS_TRY(database_.exec("DELETE FROM membership_outbox"));
  FS_TRY(auto read,
         database_.prepare("SELECT generation, environment_id FROM membership_generations"));
  std::vector<std::pair<std::int64_t, EnvironmentId>> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) break;
    all.emplace_back(read.integer(0), EnvironmentId{static_cast<std::uint64_t>(read.integer(1))});
  }
  for (const auto& [generation, environment] : all) FS_TRY(hand_out(environment, generation));
  return {};
}

Result<void> Members::hand_out(EnvironmentId environment, std::int64_t generation) {
  FS_TRY(auto read,
         database_.prepare("SELECT member, state FROM memberships WHERE generation = ?1"));
  read.bind(1, generation);
  bool is_reset = true;
  for (bool has_more = true; has_more;) {
    FS_TRY(const std::int64_t sequence, next_sequence());
    auto change = change_of(environment, generation, sequence);
    change.set_reset(std::exchange(is_reset, false));
    for (std::size_t i = 0; i < kHandedOutTogether; ++i) {
      FS_TRY(has_more, read.step());
      if (!has_more) break;
      if ((read.integer(1) & kIncluded) != 0) change.mutable_included_add()->append(read.text(0));
      if ((read.integer(1) & kExcluded) != 0) change.mutable_excluded_add()->append(read.text(0));
    }
    FS_TRY(const std::string record, environment::encode_membership_record(change));
    FS_TRY(add_record(sequence, record));
  }
  return {};
}

}  // namespace flagstream::catalog
