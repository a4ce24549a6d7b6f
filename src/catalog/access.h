// Who may call the REST API: access tokens of programs, sessions of browsers, and the one-time
// setup token that makes the first session.  Only SHA-256 of each secret is stored; secrets are
// returned once, when made.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "sql/database.h"

namespace flagstream::catalog {

// Each role may do what those after it may.
enum class Role { Admin, Writer, Reader };

std::string_view to_string(Role role);
std::optional<Role> parse_role(std::string_view text);

struct Identity {
  std::string name;
  Role role = Role::Reader;
  std::string token_id;  // empty: a session
};

// Uses the catalog's connection: same thread as Catalog.
class Access {
 public:
  Access(sql::Database& database, const Clock& clock) : database_(database), clock_(clock) {}

  // A new `api-<uuid>`.
  Result<std::string> create_token(std::string_view name, Role role);
  struct Token {
    std::string id;
    std::string name;
    Role role = Role::Reader;
    std::int64_t created_ms = 0;
  };
  // By age.
  Result<std::vector<Token>> tokens();
  // NotFound if there is none of that id.
  Result<void> remove_token(std::string_view id);
  // Removes tokens of that name.
  Result<void> remove_tokens(std::string_view name);
  // Whose token it is; nullopt if it is nobody's.
  Result<std::optional<Identity>> find_token(std::string_view token);

  // A new setup token, valid for kSetupMinutes; the ones before it stop working.
  Result<std::string> create_setup_token();
  // True while nobody has a valid session.
  Result<bool> needs_setup();
  // Trades the setup token for a session of the owner, once.  Unauthenticated if it is not valid
  // (any more).
  Result<std::string> redeem_setup_token(std::string_view token);

  Result<std::optional<Identity>> find_session(std::string_view session);
  Result<void> end_session(std::string_view session);

  static constexpr std::int64_t kSetupMinutes = 24 * 60;
  static constexpr std::int64_t kSessionDays = 30;

 private:
  std::int64_t now_ms() const { return clock_.now() / kMicrosPerMilli; }
  Result<std::string> create_session(std::string_view name, Role role);

  sql::Database& database_;
  const Clock& clock_;
};

}  // namespace flagstream::catalog
