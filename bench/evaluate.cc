// What it measures: evaluations of one flag in process, on one core, over 1,000 contexts in turn.
// What it does not: reading flags or contexts, and writing answers.
//
// The flag: a rule `country in [de, fr, us]`, else a rollout of two halves; 30 % of the contexts
// match the rule.  Every benchmark checks its answers, and that nothing was allocated.
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "flags/evaluator.h"
#include "flags/sha1.h"

namespace {

std::atomic<std::size_t> allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using flagstream::flags::Context;
using flagstream::flags::Evaluation;
using flagstream::flags::Evaluator;
using flagstream::flags::Flag;
using flagstream::flags::ReasonKind;

constexpr std::string_view kFlags =
    R"({"flags":{"checkout":{"key":"checkout","version":1,"on":true,"salt":"8a4f2b1c9d",
    "variations":[true,false],"offVariation":1,
    "rules":[{"id":"r","clauses":[{"contextKind":"user","attribute":"country","op":"in",
                                  "values":["de","fr","us"],"negate":false}],"variation":0}],
    "fallthrough":{"rollout":{"contextKind":"user","variations":[{"variation":0,"weight":50000},
                                                                {"variation":1,"weight":50000}]}}}}})";

std::vector<Context> contexts(int per_thousand_matching) {
  std::vector<Context> made;
  for (int i = 0; i < 1000; ++i) {
    const bool matches = i * 7 % 1000 < per_thousand_matching;
    const std::string json = R"({"kind":"user","key":"user-)" + std::to_string(100'000 + i * 37) +
                             R"(","name":"N","email":"n@example.com","plan":"pro","country":")" +
                             (matches ? "fr" : "pl") + R"("})";
    made.push_back(*Context::parse(json));
  }
  return made;
}

void run(benchmark::State& state, int per_thousand_matching) {
  const auto evaluator = *Evaluator::compile(kFlags);
  const Flag& flag = *evaluator->find("checkout");
  const std::vector<Context> all = contexts(per_thousand_matching);
  int matched = 0;
  for (const Context& context : all)
    matched += evaluator->evaluate(flag, context).reason.kind == ReasonKind::RuleMatch ? 1 : 0;
  if (matched != per_thousand_matching) state.SkipWithError("wrong answers");
  const std::size_t allocations_before = allocations;
  std::size_t next = 0;
  for (auto _ : state) {
    const Evaluation evaluation = evaluator->evaluate(flag, all[next]);
    benchmark::DoNotOptimize(evaluation.value.data());
    benchmark::DoNotOptimize(evaluation.reason.kind);
    next = next + 1 == all.size() ? 0 : next + 1;
  }
  if (allocations != allocations_before) state.SkipWithError("it allocated");
  state.SetItemsProcessed(state.iterations());
}

void BM_RuleElseRollout(benchmark::State& state) { run(state, 300); }
void BM_Rule(benchmark::State& state) { run(state, 1000); }
void BM_Rollout(benchmark::State& state) { run(state, 0); }

// The part of a rollout that cannot be made smaller: one hash of a key of this size.
void BM_Hash(benchmark::State& state) {
  const flagstream::flags::PrefixedSha1 hash("checkout.8a4f2b1c9d.");
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) keys.push_back("user-" + std::to_string(100'000 + i * 37));
  if (hash.first_60_bits(keys[0]) == hash.first_60_bits(keys[1]))
    state.SkipWithError("wrong answers");
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(hash.first_60_bits(keys[next]));
    next = next + 1 == keys.size() ? 0 : next + 1;
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(BM_RuleElseRollout);
BENCHMARK(BM_Rule);
BENCHMARK(BM_Rollout);
BENCHMARK(BM_Hash);

}  // namespace

BENCHMARK_MAIN();
