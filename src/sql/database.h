// Thin ownership over SQLite: connections, prepared statements, transactions, schema versions.
//
// A Database and everything made from it belong to one thread at a time (the connection is opened
// without SQLite's own mutex).  Several connections, in any threads or processes, may share one
// file: the journal is a write-ahead log, so readers never wait for the writer, and a second writer
// waits up to the busy timeout.
//
// Errors: Conflict for a violated constraint, Unavailable for a file that stays locked or cannot be
// opened, ResourceExhausted for a full disk, DataLoss for a damaged file, InvalidArgument for
// anything that is wrong with the SQL text or its use.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace flagstream::sql {

enum class Mode {
  Create,    // read and write; the file is made if it does not exist
  ReadOnly,  // NotFound if the file does not exist
};

// How much survives: Full syncs every commit (power loss loses nothing); Normal syncs at
// checkpoints of the write-ahead log only (power loss may lose the last commits, never the file's
// integrity).
enum class Durability { Full, Normal };

struct Options {
  Mode mode = Mode::Create;
  Durability durability = Durability::Full;
  std::chrono::milliseconds busy_timeout{5'000};
};

// A prepared statement.  Parameters are numbered from 1, columns from 0, as SQLite does.
class Statement {
 public:
  Statement(Statement&&) noexcept = default;
  Statement& operator=(Statement&&) noexcept = default;

  // Binding chains: statement.bind(1, id).bind(2, key).  Text and blobs are copied.  A binding that
  // fails is reported by the next step().
  template <class T>
    requires std::is_integral_v<T>
  Statement& bind(int parameter, T value) {
    return bind_integer(parameter, static_cast<std::int64_t>(value));
  }
  Statement& bind(int parameter, double value);
  Statement& bind(int parameter, std::string_view text);
  Statement& bind(int parameter, const char* text) {
    return bind(parameter, std::string_view(text));
  }
  Statement& bind_blob(int parameter, std::string_view bytes);
  Statement& bind_null(int parameter);

  // True: a row is there to be read.  False: the statement is done.
  Result<bool> step();
  // For statements without rows: steps to the end and resets.
  Result<void> run();
  // Makes the statement ready for another execution; bindings stay.
  void reset();

  // Of the current row.  Views live until the next step() or reset().
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;  // also reads blobs; empty for NULL
  bool is_null(int column) const;
  int column_count() const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Statement& bind_integer(int parameter, std::int64_t value);
  Statement& note(int code);

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bind_failure_ = 0;
};

class Database {
 public:
  static Result<Database> open(const std::string& path, const Options& options = {});
  // A private database in memory, for tests.
  static Result<Database> open_in_memory();

  Database(Database&&) noexcept = default;
  Database& operator=(Database&&) noexcept = default;

  // Runs one or more statements without parameters or results.
  Result<void> exec(const std::string& sql);
  Result<Statement> prepare(std::string_view sql);

  // Rows changed by the last INSERT, UPDATE or DELETE.
  std::int64_t changes() const;
  std::int64_t last_insert_id() const;

  // Brings the schema to version migrations.size(): step i (from 0) takes it from user_version i to
  // i + 1, each in a transaction of its own.  Conflict when the file is newer than this list.
  Result<void> migrate(std::span<const std::string_view> migrations);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit Database(sqlite3* database) : database_(database) {}

  std::unique_ptr<sqlite3, Close> database_;
};

// BEGIN IMMEDIATE ... COMMIT; rolls back when it is destroyed without commit().
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // After a failure the transaction is rolled back.
  Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}

  Database* database_;  // null once it is over
};

}  // namespace flagstream::sql
