// `flagstream evaluate`: what a flag serves to a context, and why, without a server.
#pragma once

#include <iosfwd>
#include <string>

namespace flagstream::app {

struct EvaluateOptions {
  std::string data_file;  // a /sdk/latest-all document: {"flags":{...},"segments":{...}}
  std::string flag;
  std::string context;  // JSON of a context or a legacy user
};

// Prints {"value":...,"variationIndex":...,"reason":{...}}.  What SDKs answer with an error reason
// (no such flag, a malformed flag, an invalid context) is an answer too; the cause of the last two
// is told on `err`.  Exit status: 0 answered, 1 a file or a context that is not JSON, 3 no such
// file.
int evaluate(const EvaluateOptions& options, std::ostream& out, std::ostream& err);

inline constexpr std::size_t kBatchLineBytesMax = std::size_t{64} << 20;

// Reads {"flags":{...},"segments":{...},"flag":KEY,"context":{...}} from each line and answers each
// with one line, in order: as above, or {"error":SENTENCE} where a line is not of that shape.  A
// line with neither flags nor segments is about `data_file`, if that is not empty.  Answers are
// written at the latest before waiting for more input.  Exit status: 0 all lines were right, 1 some
// were not, or the file is not JSON, 3 no such file.
int evaluate_batch(const std::string& data_file, std::istream& in, std::ostream& out,
                   std::ostream& err);

}  // namespace flagstream::app
