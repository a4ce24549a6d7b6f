#include "flags/evaluator.h"

#include <algorithm>

#include <fmt/format.h>

namespace flagstream::flags {
namespace {

// The flags or segments that are being evaluated, innermost first.
struct Frame {
  const void* item;
  const Frame* outer;
  int depth;

  bool holds(const void* other) const {
    for (const Frame* frame = this; frame != nullptr; frame = frame->outer) {
      if (frame->item == other) return true;
    }
    return false;
  }
};

Frame inside(const void* item, const Frame* outer) {
  return {.item = item, .outer = outer, .depth = outer == nullptr ? 1 : outer->depth + 1};
}

Evaluation malformed() { return Evaluation::failed(EvaluationError::MalformedFlag); }

// The functions below complete, in place, an answer whose reason is set already.

// What is rare stays out of line, so that the usual way needs few registers and no stack: a
// processor hides the time of a hash behind the evaluation that follows only as far as it can look
// ahead.
[[gnu::noinline, gnu::cold]] void serve_malformed(Evaluation& answer) { answer = malformed(); }

void serve(const Flag& flag, std::int64_t index, Evaluation& answer) {
  if (index < 0 || static_cast<std::size_t>(index) >= flag.variations.size()) {
    return serve_malformed(answer);
  }
  answer.value = flag.variations[static_cast<std::size_t>(index)];
  answer.variation = static_cast<std::uint32_t>(index);
}

void serve_off(const Flag& flag, Evaluation& answer) {
  if (flag.off_variation) serve(flag, *flag.off_variation, answer);
}

void serve_outcome(const Flag& flag, const Outcome& outcome, const Context& context,
                   bool is_tracked, Evaluation& answer) {
  std::int64_t index = -1;
  if (const auto* fixed = std::get_if<std::int64_t>(&outcome)) {
    index = *fixed;
  } else if (const auto* rollout = std::get_if<Rollout>(&outcome)) {
    const Rollout::Choice choice = rollout->choose(context);
    index = choice.variation;
    answer.reason.is_in_experiment = choice.is_in_experiment;
  }
  answer.is_experiment = is_tracked || answer.reason.is_in_experiment;
  serve(flag, index, answer);
}

bool names(const SegmentTarget& target, const Context& context) {
  const IndividualContext* individual = context.find(target.context_kind);
  return individual != nullptr && target.keys.contains(individual->key, individual->key_hash);
}

// One evaluation, from its flag down through prerequisites and segments.
class Run {
 public:
  Run(const std::vector<Segment>& segments, const Context& context,
      const EvaluationOptions& options)
      : segments_(segments), context_(context), options_(options) {}

  Evaluation evaluate(const Flag& flag) {
    Evaluation evaluation = evaluate_inside(flag, nullptr);
    if (is_aborted_) serve_malformed(evaluation);
    if (big_segments_) evaluation.reason.big_segments = big_segments_;
    return evaluation;
  }

 private:
  Evaluation evaluate_inside(const Flag& flag, const Frame* outer) {
    Evaluation answer = malformed();
    if (flag.problem.empty()) decide(flag, outer, answer);
    return answer;
  }

  void decide(const Flag& flag, const Frame* outer, Evaluation& answer) {
    Reason& reason = answer.reason;
    if (!flag.is_on) {
      reason.kind = ReasonKind::Off;
      return serve_off(flag, answer);
    }
    if (!flag.prerequisites.empty()) {
      const Prerequisite* failed = first_failed(flag, outer);
      if (is_aborted_) return;
      if (failed != nullptr) {
        reason.kind = ReasonKind::PrerequisiteFailed;
        reason.prerequisite_key = failed->key;
        return serve_off(flag, answer);
      }
    }
    for (const Target& target : flag.targets) {
      const IndividualContext* individual = context_.find(target.context_kind);
      if (individual != nullptr && target.keys.contains(individual->key, individual->key_hash)) {
        reason.kind = ReasonKind::TargetMatch;
        return serve(flag, target.variation, answer);
      }
    }
    for (const Rule& rule : flag.rules) {
      const Match match = match_all(rule.clauses, nullptr);
      is_aborted_ = match == Match::Error;
      if (is_aborted_) return;
      if (match == Match::Yes) {
        reason.kind = ReasonKind::RuleMatch;
        reason.rule_index = static_cast<std::uint32_t>(&rule - flag.rules.data());
        reason.rule_id = rule.id;
        return serve_outcome(flag, rule.outcome, context_, rule.tracks_events, answer);
      }
    }
    reason.kind = ReasonKind::Fallthrough;
    serve_outcome(flag, flag.fallthrough, context_, flag.tracks_fallthrough_events, answer);
  }

  // Null: all hold.
  [[gnu::noinline]] const Prerequisite* first_failed(const Flag& flag, const Frame* outer) {
    const Frame here = inside(&flag, outer);
    for (const Prerequisite& each : flag.prerequisites) {
      if (each.flag == nullptr) return &each;
      if (here.holds(each.flag) || !may_go_deeper(here)) {
        is_aborted_ = true;
        return &each;
      }
      const Evaluation evaluation = evaluate_inside(*each.flag, &here);
      if (is_aborted_) return &each;
      if (options_.prerequisites != nullptr)
        options_.prerequisites->push_back({&flag, each.flag, evaluation});
      const bool holds = each.flag->is_on && evaluation.variation &&
                         std::int64_t{*evaluation.variation} == each.variation;
      if (!holds) return &each;
    }
    return nullptr;
  }

  bool may_go_deeper(const Frame& here) {
    return here.depth < Evaluator::kNestingMax && ++visits_ <= Evaluator::kVisitsMax;
  }

  Match match_all(const std::vector<Clause>& clauses, const Frame* segments) {
    for (const Clause& clause : clauses) {
      const Match match = clause.op == Operator::SegmentMatch ? match_segments(clause, segments)
                                                              : clause.match(context_);
      if (match != Match::Yes) return match;
    }
    return Match::Yes;
  }

  [[gnu::noinline]] Match match_segments(const Clause& clause, const Frame* outer) {
    for (const std::size_t index : clause.segments) {
      const Match match = match_segment(segments_[index], outer);
      if (match == Match::Error) return match;
      if (match == Match::Yes) return clause.is_negated ? Match::No : Match::Yes;
    }
    return clause.is_negated ? Match::Yes : Match::No;
  }

  Match match_segment(const Segment& segment, const Frame* outer) {
    if (outer != nullptr && outer->holds(&segment)) return Match::Error;
    const Frame here = inside(&segment, outer);
    if (!segment.problem.empty() || !may_go_deeper(here)) return Match::Error;
    const std::optional<bool> listed =
        segment.is_unbounded ? find_in_big_segment(segment) : find_in_lists(segment);
    if (listed) return *listed ? Match::Yes : Match::No;
    for (const SegmentRule& rule : segment.rules) {
      Match match = match_all(rule.clauses, &here);
      if (match == Match::Yes && rule.limit) match = match_share(rule);
      if (match != Match::No) return match;
    }
    return Match::No;
  }

  Match match_share(const SegmentRule& rule) const {
    if (!rule.bucketing.is_valid()) return Match::Error;
    const Bucket bucket = rule.bucketing.bucket(context_);
    return bucket.has_context && bucket.bits < *rule.limit ? Match::Yes : Match::No;
  }

  // nullopt: the rules decide.
  std::optional<bool> find_in_lists(const Segment& segment) const {
    const IndividualContext* user = context_.user();
    const bool is_user_alone = user != nullptr && !context_.is_multi();
    const auto is_named = [this](const SegmentTarget& each) { return names(each, context_); };
    if (user != nullptr && segment.included.contains(user->key, user->key_hash)) return true;
    if (!is_user_alone && std::ranges::any_of(segment.included_contexts, is_named)) return true;
    if (user != nullptr && segment.excluded.contains(user->key, user->key_hash)) return false;
    if (!is_user_alone && std::ranges::any_of(segment.excluded_contexts, is_named)) return false;
    return std::nullopt;
  }

  std::optional<bool> find_in_big_segment(const Segment& segment) {
    if (segment.big_segment_reference.empty()) {
      note(BigSegmentsStatus::NotConfigured);
      return false;
    }
    const IndividualContext* individual = context_.find(segment.unbounded_context_kind);
    if (individual == nullptr) return false;
    if (options_.big_segments == nullptr) {
      note(BigSegmentsStatus::NotConfigured);
      return std::nullopt;
    }
    const auto answer = options_.big_segments->find(individual->key, segment.big_segment_reference);
    note(answer.status);
    return answer.is_member;
  }

  void note(BigSegmentsStatus status) {
    big_segments_ = std::max(big_segments_.value_or(BigSegmentsStatus::Healthy), status);
  }

  const std::vector<Segment>& segments_;
  const Context& context_;
  const EvaluationOptions& options_;
  std::optional<BigSegmentsStatus> big_segments_;  // the worst so far
  int visits_ = 0;
  bool is_aborted_ = false;  // the flag that was asked for is malformed, whatever is around
};

}  // namespace

// Fills one Evaluator; used once.
class EvaluatorCompiler {
 public:
  explicit EvaluatorCompiler(Evaluator& evaluator) : evaluator_(evaluator) {}

  Result<void> compile(const Node& document) {
    if (document.type != NodeType::Object)
      return fail(ErrorKind::InvalidArgument, "flag data is not an object");
    FS_TRY(const Node* flags, items(document, "flags"));
    FS_TRY(const Node* segments, items(document, "segments"));
    read(*segments, evaluator_.segments_, evaluator_.segment_index_, read_segment, "segment");
    read(*flags, evaluator_.flags_, evaluator_.flag_index_, read_flag, "flag");
    for (Flag& flag : evaluator_.flags_) {
      for (Prerequisite& each : flag.prerequisites) each.flag = evaluator_.find(each.key);
      for (Rule& rule : flag.rules) link(rule.clauses);
    }
    for (Segment& segment : evaluator_.segments_) {
      for (SegmentRule& rule : segment.rules) link(rule.clauses);
    }
    return {};
  }

 private:
  static Result<const Node*> items(const Node& document, std::string_view name) {
    const Node& node = member(document, name);
    if (node.type != NodeType::Object && node.type != NodeType::Null)
      return fail(ErrorKind::InvalidArgument, fmt::format("{} is not an object", name));
    return &node;
  }

  template <class Item, class Index, class Read>
  void read(const Node& nodes, std::vector<Item>& items, Index& index, Read read_item,
            std::string_view what) {
    // Of two items with one key the last counts.
    std::unordered_map<std::string_view, const Node*, Evaluator::HashOfText> last;
    for (const auto& [key, node] : Members(nodes)) last[key] = &node;
    items.reserve(last.size());
    for (const auto& [key, node] : Members(nodes)) {
      if (last[key] != &node || member(node, "deleted").boolean) continue;
      index.emplace(key, items.size());
      const Item& item = items.emplace_back(read_item(key, node));
      if (!item.problem.empty())
        evaluator_.problems_.push_back(fmt::format("{} {}: {}", what, key, item.problem));
    }
  }

  void link(std::vector<Clause>& clauses) const {
    for (Clause& clause : clauses) {
      if (clause.op != Operator::SegmentMatch) continue;
      for (const std::string_view key : std::get<Texts>(clause.values)) {
        const auto found = evaluator_.segment_index_.find(key);
        if (found != evaluator_.segment_index_.end()) clause.segments.push_back(found->second);
      }
    }
  }

  Evaluator& evaluator_;
};

Result<std::unique_ptr<const Evaluator>> Evaluator::compile(std::string_view document) {
  FS_TRY(auto parsed, Document::parse(document));
  std::unique_ptr<Evaluator> evaluator(new Evaluator);
  FS_TRY(EvaluatorCompiler(*evaluator).compile(parsed->root()));
  parsed->drop_nodes();
  evaluator->document_ = std::move(parsed);
  return evaluator;
}

Result<std::unique_ptr<const Evaluator>> Evaluator::compile(const Node& document) {
  std::unique_ptr<Evaluator> evaluator(new Evaluator);
  FS_TRY(EvaluatorCompiler(*evaluator).compile(document));
  return evaluator;
}

const Flag* Evaluator::find(std::string_view key) const {
  const auto found = flag_index_.find(key);
  return found == flag_index_.end() ? nullptr : &flags_[found->second];
}

bool Evaluator::has_big_segments() const {
  return std::ranges::any_of(segments_, [](const Segment& each) { return each.is_unbounded; });
}

Evaluation Evaluator::evaluate(const Flag& flag, const Context& context,
                               const EvaluationOptions& options) const {
  return Run(segments_, context, options).evaluate(flag);
}

Evaluation Evaluator::evaluate(std::string_view key, const Context& context,
                               const EvaluationOptions& options) const {
  const Flag* flag = find(key);
  if (flag == nullptr) return Evaluation::failed(EvaluationError::FlagNotFound);
  return evaluate(*flag, context, options);
}

}  // namespace flagstream::flags
