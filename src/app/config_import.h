// `flagstream config import FILE`: writes an environment's flags and keys into the topic `config`,
// for a gateway that runs without control.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>

namespace flagstream::app {

struct ImportOptions {
  std::string
      file;  // the document that GET /sdk/latest-all answers: {"flags":{...},"segments":{...}}
  std::string log_folder;  // of the data folder
  // Each takes the place of those of its kind; empty: they stay.  Without any SDK key one is made.
  std::string sdk_key;
  std::string mobile_key;
  std::string client_side_id;
  std::optional<bool> secure_mode = {};  // none: it stays as it is, off at first
};

// Appends what differs from what `config` says already: new versions are above the old ones, and
// what the file no longer has is deleted.  All of it is one batch: applied whole or not at all.
// Prints the keys that it has set, one a line.  Exit status: 0 done, 1 failed, 2 the file is wrong,
// 4 the topic is in use by a running control.
int config_import(const ImportOptions& options, std::ostream& out, std::ostream& err);

}  // namespace flagstream::app
