#include "catalog/access.h"

#include <utility>

#include "base/hash.h"
#include "base/id.h"

namespace flagstream::catalog {
namespace {

constexpr std::int64_t kMillisPerMinute = 60'000;
constexpr std::int64_t kMillisPerDay = 24 * 60 * kMillisPerMinute;
constexpr std::size_t kSecretDigits = 64;

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::Admin:
      return "admin";
    case Role::Writer:
      return "writer";
    case Role::Reader:
      return "reader";
  }
  std::unreachable();
}

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::Admin, Role::Writer, Role::Reader}) {
    if (text == to_string(role)) return role;
  }
  return std::nullopt;
}

Result<std::string> Access::create_token(std::string_view name, Role role) {
  std::string token = "api-" + random_uuid();
  FS_TRY(auto insert,
         database_.prepare("INSERT INTO access_tokens (id, name, role, hash, created_ms) "
                           "VALUES (?1, ?2, ?3, ?4, ?5)"));
  insert.bind(1, random_hex(24)).bind(2, name).bind(3, to_string(role));
  FS_TRY(insert.bind(4, sha256_hex(token)).bind(5, now_ms()).run());
  return token;
}

Result<std::vector<Access::Token>> Access::tokens() {
  FS_TRY(auto read, database_.prepare("SELECT id, name, role, created_ms FROM access_tokens "
                                      "ORDER BY created_ms, id"));
  std::vector<Token> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return all;
    const auto role = parse_role(read.text(2));
    if (!role) continue;  // made by a later release, and of no use to this one
    all.push_back({std::string(read.text(0)), std::string(read.text(1)), *role, read.integer(3)});
  }
}

Result<void> Access::remove_token(std::string_view id) {
  FS_TRY(auto remove, database_.prepare("DELETE FROM access_tokens WHERE id = ?1"));
  FS_TRY(remove.bind(1, id).run());
  if (database_.changes() == 0) return fail(ErrorKind::NotFound, "there is no such token");
  return {};
}

Result<void> Access::remove_tokens(std::string_view name) {
  FS_TRY(auto remove, database_.prepare("DELETE FROM access_tokens WHERE name = ?1"));
  return remove.bind(1, name).run();
}

Result<std::optional<Identity>> Access::find_token(std::string_view token) {
  FS_TRY(auto read, database_.prepare("SELECT name, role, id FROM access_tokens WHERE hash = ?1"));
  FS_TRY(const bool found, read.bind(1, sha256_hex(token)).step());
  if (!found) return std::nullopt;
  const auto role = parse_role(read.text(1));
  if (!role) return std::nullopt;
  return Identity{std::string(read.text(0)), *role, std::string(read.text(2))};
}

Result<std::string> Access::create_setup_token() {
  std::string token = random_hex(kSecretDigits);
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(database_.exec("DELETE FROM setup_tokens"));
  FS_TRY(auto insert,
         database_.prepare(
             "INSERT INTO setup_tokens (hash, created_ms, expires_ms) VALUES (?1, ?2, ?3)"));
  insert.bind(1, sha256_hex(token)).bind(2, now_ms());
  FS_TRY(insert.bind(3, now_ms() + kSetupMinutes * kMillisPerMinute).run());
  FS_TRY(transaction.commit());
  return token;
}

Result<bool> Access::needs_setup() {
  FS_TRY(auto read, database_.prepare("SELECT EXISTS (SELECT 1 FROM sessions)"));
  FS_TRY(read.step());
  return read.integer(0) == 0;
}

Result<std::string> Access::redeem_setup_token(std::string_view token) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(auto remove,
         database_.prepare("DELETE FROM setup_tokens WHERE hash = ?1 AND expires_ms > ?2"));
  FS_TRY(remove.bind(1, sha256_hex(token)).bind(2, now_ms()).run());
  if (database_.changes() == 0) {
    return fail(ErrorKind::Unauthenticated,
                "this setup link was used already or has expired: restart to get a new one");
  }
  FS_TRY(std::string session, create_session("owner", Role::Admin));
  FS_TRY(transaction.commit());
  return session;
}

Result<std::string> Access::create_session(std::string_view name, Role role) {
  std::string session = random_hex(kSecretDigits);
  FS_TRY(auto expire, database_.prepare("DELETE FROM sessions WHERE expires_ms <= ?1"));
  FS_TRY(expire.bind(1, now_ms()).run());
  FS_TRY(auto insert,
         database_.prepare("INSERT INTO sessions (hash, name, role, created_ms, expires_ms) "
                           "VALUES (?1, ?2, ?3, ?4, ?5)"));
  insert.bind(1, sha256_hex(session)).bind(2, name).bind(3, to_string(role)).bind(4, now_ms());
  FS_TRY(insert.bind(5, now_ms() + kSessionDays * kMillisPerDay).run());
  return session;
}

Result<std::optional<Identity>> Access::find_session(std::string_view session) {
  FS_TRY(auto read,
         database_.prepare("SELECT name, role FROM sessions WHERE hash = ?1 AND expires_ms > ?2"));
  FS_TRY(const bool found, read.bind(1, sha256_hex(session)).bind(2, now_ms()).step());
  if (!found) return std::nullopt;
  const auto role = parse_role(read.text(1));
  if (!role) return std::nullopt;
  return Identity{std::string(read.text(0)), *role, {}};
}

Result<void> Access::end_session(std::string_view session) {
  FS_TRY(auto remove, database_.prepare("DELETE FROM sessions WHERE hash = ?1"));
  return remove.bind(1, sha256_hex(session)).run();
}

}  // namespace flagstream::catalog
