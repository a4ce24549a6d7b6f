#include "app/evaluate.h"

#include <fstream>
#include <istream>
#include <iterator>
#include <limits>
#include <memory>
#include <ostream>

#include "app/client_commands.h"
#include "base/error.h"
#include "flags/evaluator.h"
#include "json/json.h"

namespace flagstream::app {
namespace {

using flags::Context;
using flags::Document;
using flags::Evaluation;
using flags::Evaluator;
using flags::Node;
using flags::NodeType;

Result<std::unique_ptr<const Evaluator>> load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorKind::NotFound, path + ": cannot be opened");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return fail(ErrorKind::Unavailable, path + ": cannot be read");
  auto evaluator = Evaluator::compile(text);
  if (!evaluator) return fail(std::move(evaluator).error().in(path));
  return evaluator;
}

int report(const Error& error, std::ostream& err) {
  err << "flagstream: " << error.what << '\n';
  return error.kind == ErrorKind::NotFound ? kExitNotFound : kExitFailed;
}

// Answers the lines of one input; keeps its buffers.
class Batch {
 public:
  explicit Batch(const Evaluator* common) : common_(common) {}

  // Appends the answer and its line end.
  void answer(std::string_view line, std::string& out) {
    const auto done = try_answer(line, out);
    if (!done) refuse(done.error().what, out);
    out += '\n';
  }
  void answer_too_long(std::string& out) {
    refuse("the line is longer than 64 MiB", out);
    out += '\n';
  }
  bool has_refused() const { return has_refused_; }

 private:
  void refuse(std::string_view why, std::string& out) {
    has_refused_ = true;
    out += R"({"error":)";
    json::append_quoted(out, why);
    out += '}';
  }

  Result<void> try_answer(std::string_view line, std::string& out) {
    FS_TRY(const auto document, Document::parse(line));
    const Node& root = document->root();
    if (root.type != NodeType::Object)
      return fail(ErrorKind::InvalidArgument, "the line is not a JSON object");
    const Node& flag = flags::member(root, "flag");
    if (flag.type != NodeType::String)
      return fail(ErrorKind::InvalidArgument, "flag is not there, or not a string");
    const Node* context = flags::find(root, "context");
    if (context == nullptr) return fail(ErrorKind::InvalidArgument, "context is not there");
    const bool has_own =
        flags::find(root, "flags") != nullptr || flags::find(root, "segments") != nullptr;
    std::unique_ptr<const Evaluator> own;
    if (has_own || common_ == nullptr) {
      FS_TRY(own, Evaluator::compile(root));
    }
    const Evaluator& evaluator = own ? *own : *common_;
    const auto read = Context::from(*context);
    flags::append_evaluation(out,
                             read ? evaluator.evaluate(flag.text, *read)
                                  : Evaluation::failed(flags::EvaluationError::UserNotSpecified));
    return {};
  }

  const Evaluator* common_;  // null: every line brings its own
  bool has_refused_ = false;
};

}  // namespace

int evaluate(const EvaluateOptions& options, std::ostream& out, std::ostream& err) {
  const auto evaluator = load(options.data_file);
  if (!evaluator) return report(evaluator.error(), err);
  for (const std::string& problem : (*evaluator)->problems())
    err << "flagstream: " << problem << '\n';
  const auto document = Document::parse(options.context);
  if (!document) return report(Error(document.error()).in("--context"), err);
  const auto context = Context::from((*document)->root());
  if (!context) err << "flagstream: " << context.error().what << '\n';
  std::string answer;
  flags::append_evaluation(answer,
                           context ? (*evaluator)->evaluate(options.flag, *context)
                                   : Evaluation::failed(flags::EvaluationError::UserNotSpecified));
  out << answer << '\n';
  return kExitDone;
}

int evaluate_batch(const std::string& data_file, std::istream& in, std::ostream& out,
                   std::ostream& err) {
  std::unique_ptr<const Evaluator> common;
  if (!data_file.empty()) {
    auto loaded = load(data_file);
    if (!loaded) return report(loaded.error(), err);
    common = *std::move(loaded);
  }
  constexpr std::size_t kAnswersBytesMax = std::size_t{1} << 20;  // held back while input waits
  const auto line = std::make_unique_for_overwrite<char[]>(kBatchLineBytesMax + 1);
  Batch batch(common.get());
  std::string answers;
  for (;;) {
    if (answers.size() > kAnswersBytesMax || in.rdbuf()->in_avail() <= 0) {
      out << answers << std::flush;
      answers.clear();
    }
    in.getline(line.get(), static_cast<std::streamsize>(kBatchLineBytesMax + 1));
    const auto size = static_cast<std::size_t>(in.gcount());
    if (in.fail() && size == kBatchLineBytesMax) {
      in.clear();
      in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
      batch.answer_too_long(answers);
      continue;
    }
    if (in.fail()) break;
    batch.answer({line.get(), in.eof() ? size : size - 1}, answers);
  }
  out << answers << std::flush;
  return batch.has_refused() || !out ? kExitFailed : kExitDone;
}

}  // namespace flagstream::app
