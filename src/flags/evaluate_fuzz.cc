// Input: a document, a line end, a context.  Properties: whatever is read can be evaluated; every
// answer is JSON on one line with a value that is one of the flag's variations or null; and the
// same flags, read as a part of a larger document, answer the same.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "flags/evaluator.h"

namespace {

using namespace flagstream;

std::string answer_of(const flags::Evaluator& evaluator, std::string_view key,
                      const flags::Context& context) {
  std::string answer;
  flags::append_evaluation(answer, evaluator.evaluate(key, context));
  return answer;
}

void check_answer(const flags::Flag& flag, const std::string& answer) {
  FS_ASSERT(answer.find('\n') == std::string::npos, "one line");
  const auto document = flags::Document::parse(answer);
  // A variation may itself be as deep as a document may be.
  if (!document) {
    FS_ASSERT(document.error().what.starts_with("not JSON: less depth"), "an answer is JSON");
    return;
  }
  const flags::Node& index = flags::member((*document)->root(), "variationIndex");
  const flags::Node& value = flags::member((*document)->root(), "value");
  if (index.type == flags::NodeType::Null) {
    FS_ASSERT(value.type == flags::NodeType::Null, "no variation, no value");
    return;
  }
  FS_ASSERT(value.source == flag.variations.at(static_cast<std::size_t>(index.number)),
            "the variation's own value");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(input.find('\n'), size);
  const std::string_view context_text = input.substr(std::min(cut + 1, size));
  const auto context = flags::Context::parse(context_text);
  const auto evaluator = flags::Evaluator::compile(input.substr(0, cut));
  if (!context || !evaluator) return 0;
  (void)context->fully_qualified_key();
  const auto whole = flags::Document::parse(input.substr(0, cut));
  const auto part = flags::Evaluator::compile((*whole)->root());
  FS_ASSERT(part && (*part)->flags().size() == (*evaluator)->flags().size(), "the same flags");
  for (const auto& [key, node] : flags::Members(flags::member((*whole)->root(), "flags"))) {
    const flags::Flag* flag = (*evaluator)->find(key);
    const std::string answer = answer_of(**evaluator, key, *context);
    FS_ASSERT(answer == answer_of(**part, key, *context), "the same answer");
    if (flag != nullptr) check_answer(*flag, answer);
  }
  return 0;
}
