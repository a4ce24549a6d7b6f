#include "sql/database.h"

#include <utility>

#include <sqlite3.h>

#include "base/assert.h"

namespace flagstream::sql {
namespace {

ErrorKind kind_of(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return ErrorKind::Conflict;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_INTERRUPT:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_FULL:  // of the disk: nobody asked for too much, and it may end
      return ErrorKind::Unavailable;
    case SQLITE_NOMEM:
      return ErrorKind::ResourceExhausted;
    case SQLITE_TOOBIG:
      return ErrorKind::TooLarge;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorKind::DataLoss;
    default:
      return ErrorKind::InvalidArgument;
  }
}

// What is wrong with the file itself is told with its name.
bool concerns_file(ErrorKind kind) {
  return kind == ErrorKind::DataLoss || kind == ErrorKind::Unavailable ||
         kind == ErrorKind::ResourceExhausted;
}

std::unexpected<Error> failure(sqlite3* database, int code) {
  const ErrorKind kind = kind_of(code);
  if (database == nullptr) return fail(kind, sqlite3_errstr(code));
  Error error(kind, sqlite3_errmsg(database));
  const char* file = concerns_file(kind) ? sqlite3_db_filename(database, "main") : nullptr;
  return fail(file != nullptr && *file != '\0' ? std::move(error).in(file) : std::move(error));
}

int open_flags(Mode mode) {
  switch (mode) {
    case Mode::Create:
      return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    case Mode::ReadOnly:
      return SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
  }
  std::unreachable();
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Statement& Statement::note(int code) {
  if (code != SQLITE_OK && bind_failure_ == SQLITE_OK) bind_failure_ = code;
  return *this;
}

Statement& Statement::bind_integer(int parameter, std::int64_t value) {
  return note(sqlite3_bind_int64(statement_.get(), parameter, value));
}

Statement& Statement::bind(int parameter, double value) {
  return note(sqlite3_bind_double(statement_.get(), parameter, value));
}

Statement& Statement::bind(int parameter, std::string_view text) {
  // A null pointer would bind NULL: an empty view must stay an empty text.
  const char* bytes = text.empty() ? "" : text.data();
  return note(sqlite3_bind_text64(statement_.get(), parameter, bytes, text.size(), SQLITE_TRANSIENT,
                                  SQLITE_UTF8));
}

Statement& Statement::bind_blob(int parameter, std::string_view bytes) {
  const char* data = bytes.empty() ? "" : bytes.data();
  return note(
      sqlite3_bind_blob64(statement_.get(), parameter, data, bytes.size(), SQLITE_TRANSIENT));
}

Statement& Statement::bind_null(int parameter) {
  return note(sqlite3_bind_null(statement_.get(), parameter));
}

Result<bool> Statement::step() {
  sqlite3* const database = sqlite3_db_handle(statement_.get());
  if (bind_failure_ != SQLITE_OK)
    return fail(kind_of(bind_failure_), sqlite3_errstr(bind_failure_));
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  auto error = failure(database, code);
  sqlite3_reset(statement_.get());
  return error;
}

Result<void> Statement::run() {
  for (;;) {
    FS_TRY(const bool row, step());
    if (!row) break;
  }
  reset();
  return {};
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::string_view Statement::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_.get(), column);
  if (bytes == nullptr) return {};
  return {static_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}
int Statement::column_count() const { return sqlite3_column_count(statement_.get()); }

Result<Database> Database::open(const std::string& path, const Options& options) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, open_flags(options.mode), nullptr);
  Database database(raw);
  if (code != SQLITE_OK) {
    // SQLite does not say why a file cannot be opened; for a reader the usual reason is that it is
    // not there yet.
    const bool missing = options.mode == Mode::ReadOnly && (code & 0xff) == SQLITE_CANTOPEN;
    return fail(Error(missing ? ErrorKind::NotFound : kind_of(code), sqlite3_errstr(code))
                    .in("open " + path));
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, static_cast<int>(options.busy_timeout.count()));
  FS_TRY(database.exec("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF"));
  if (options.mode == Mode::Create) {
    FS_TRY(database.exec("PRAGMA journal_mode = WAL"));
    FS_TRY(database.exec(options.durability == Durability::Full ? "PRAGMA synchronous = FULL"
                                                                : "PRAGMA synchronous = NORMAL"));
  }
  return database;
}

Result<Database> Database::open_in_memory() { return open(":memory:"); }

Result<void> Database::exec(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failure(database_.get(), code);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, &tail);
  Statement statement(raw);
  if (code != SQLITE_OK) return failure(database_.get(), code);
  if (raw == nullptr) return fail(ErrorKind::InvalidArgument, "empty statement");
  return statement;
}

std::int64_t Database::changes() const { return sqlite3_changes64(database_.get()); }
std::int64_t Database::last_insert_id() const { return sqlite3_last_insert_rowid(database_.get()); }

Result<void> Database::migrate(std::span<const std::string_view> migrations) {
  for (;;) {
    // Reading the version inside the write lock: two processes that start together apply each step
    // once.
    FS_TRY(Transaction transaction, Transaction::begin(*this));
    std::size_t version = 0;
    {
      FS_TRY(Statement read, prepare("PRAGMA user_version"));
      FS_TRY(read.step());
      version = static_cast<std::size_t>(read.integer(0));
    }
    if (version > migrations.size()) {
      return fail(ErrorKind::Conflict, "the database has schema version " +
                                           std::to_string(version) + ", this program knows up to " +
                                           std::to_string(migrations.size()) +
                                           ": start a newer flagstream");
    }
    if (version == migrations.size()) return transaction.commit();
    FS_TRY(exec(std::string(migrations[version])));
    FS_TRY(exec("PRAGMA user_version = " + std::to_string(version + 1)));
    FS_TRY(transaction.commit());
  }
}

Result<Transaction> Transaction::begin(Database& database) {
  FS_TRY(database.exec("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  // A failed rollback means that SQLite has rolled back by itself already.
  if (database_ != nullptr) (void)database_->exec("ROLLBACK");
}

Result<void> Transaction::commit() {
  FS_ASSERT(database_ != nullptr, "a transaction is committed once");
  FS_TRY(database_->exec("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace flagstream::sql
