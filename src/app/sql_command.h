// `flagstream sql QUERY`: one SELECT over the lake of a data folder, whether a server runs there or
// not.
#pragma once

#include <iosfwd>
#include <string>

#include "app/client_commands.h"

namespace flagstream::app {

struct SqlOptions {
  std::string lake_folder;  // DATA/lake
  std::string query;
  std::string output = "table";    // table, json
  std::string rows_max = "1000";   // the texts as given: a wrong one gets a sentence
  std::string bytes_max = "8MiB";  // of the result
  std::string timeout = "10s";
};

// Prints the result as a table, or as the JSON that the REST route answers with.
// Exit status: 0 done, 1 failed (the reason is on `err`), 2 an option cannot be read.
int sql(const SqlOptions& options, std::ostream& out, std::ostream& err);

// A result of lake::query() as a table for people: columns aligned, numbers to the right, control
// characters escaped (a value comes from whoever sends events, and must not command the terminal),
// and a line that counts the rows.
Result<std::string> sql_table(const std::string& result);

}  // namespace flagstream::app
