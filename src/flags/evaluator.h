// The flags and segments of one environment, compiled, and their evaluation for contexts as the
// LaunchDarkly server-side SDKs do it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "flags/context.h"
#include "flags/document.h"
#include "flags/evaluation.h"
#include "flags/key_set.h"
#include "flags/model.h"

namespace flagstream::flags {

// Where the members of unbounded (big) segments are known.
class BigSegments {
 public:
  virtual ~BigSegments() = default;

  struct Answer {
    BigSegmentsStatus status = BigSegmentsStatus::Healthy;
    std::optional<bool> is_member;  // none: neither included nor excluded, so the rules decide
  };
  // `reference` is KEY.gGENERATION.  Called from the evaluating thread.
  virtual Answer find(std::string_view context_key, std::string_view reference) const = 0;
};

// One prerequisite that was evaluated on the way.
struct PrerequisiteEvaluation {
  const Flag* parent;  // whose prerequisite it is, directly
  const Flag* flag;
  Evaluation evaluation;
};

struct EvaluationOptions {
  const BigSegments* big_segments = nullptr;  // null: NOT_CONFIGURED
  // Takes every prerequisite that was evaluated, inner ones before outer ones; null: not wanted.
  std::vector<PrerequisiteEvaluation>* prerequisites = nullptr;
};

// Immutable; thread-safe.
class Evaluator {
 public:
  // Limits that a flag can reach only through prerequisites or segments that fan out over many
  // levels; beyond them it is malformed.
  static constexpr int kNestingMax = 256;
  static constexpr int kVisitsMax = 100'000;  // of flags and segments, in one evaluation

  // A document as GET /sdk/latest-all has it: {"flags":{...},"segments":{...}}.  InvalidArgument:
  // not JSON, or one of the two is not an object.  An item that cannot be evaluated fails nothing
  // but its own evaluation: see problems().
  static Result<std::unique_ptr<const Evaluator>> compile(std::string_view document);
  // The same of a part of a document that the caller keeps, with its nodes, longer than the
  // evaluator.
  static Result<std::unique_ptr<const Evaluator>> compile(const Node& document);

  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // Null: there is no such flag, or it is deleted.
  const Flag* find(std::string_view key) const;
  // In the document's order, without deleted ones.
  const std::vector<Flag>& flags() const { return flags_; }
  // Whether some segment is unbounded, so that evaluations may ask BigSegments.
  bool has_big_segments() const;
  // One sentence for every item that cannot be evaluated.
  const std::vector<std::string>& problems() const { return problems_; }

  // `flag` is one of ours.  Does not allocate, except for what a regular expression or the options
  // need.
  Evaluation evaluate(const Flag& flag, const Context& context,
                      const EvaluationOptions& options = {}) const;
  // FLAG_NOT_FOUND where there is no such flag.
  Evaluation evaluate(std::string_view key, const Context& context,
                      const EvaluationOptions& options = {}) const;

 private:
  friend class EvaluatorCompiler;
  struct HashOfText {
    std::size_t operator()(std::string_view text) const { return hash_of(text); }
  };
  template <class Value>
  using ByKey = std::unordered_map<std::string_view, Value, HashOfText>;

  Evaluator() = default;

  std::unique_ptr<Document> document_;  // null if the caller keeps it
  std::vector<Flag> flags_;
  std::vector<Segment> segments_;
  ByKey<std::size_t> flag_index_;
  ByKey<std::size_t> segment_index_;
  std::vector<std::string> problems_;
};

}  // namespace flagstream::flags
