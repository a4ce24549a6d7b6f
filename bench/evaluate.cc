// What it measures: evaluations in process, of a compiled flag set, by one thread or several.
// What it does not: reading the flags, and writing answers.
//
//   bench_evaluate DATA CONTEXTS     DATA as GET /sdk/latest-all has it, CONTEXTS one JSON a line
//
// Takes lines of standard input and answers each with one of JSON; bench/run.py drives it, and its
// peers of bench/peers by the same protocol:
//   each SECONDS THREADS    every flag for every context in turn, contexts read beforehand
//   json SECONDS THREADS    the same, each context read from its JSON anew
//   latency                 how long single evaluations take, the clock included
//   check                   how many pairs of context and flag got which variation
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <time.h>

#include "flags/evaluator.h"

namespace {

std::atomic<std::size_t> allocated_bytes = 0;

}  // namespace

void* operator new(std::size_t size) {
  allocated_bytes.fetch_add(size, std::memory_order_relaxed);
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
using Clock = std::chrono::steady_clock;

struct Workload {
  std::unique_ptr<const Evaluator> evaluator;
  std::vector<std::string> texts;
  std::vector<Context> contexts;
};

struct Work {
  std::size_t evaluations = 0;
  std::size_t sum = 0;  // of what was answered, so that nothing can be left out
  double cpu_seconds = 0;
};

[[noreturn]] void stop(const std::string& why) {
  std::cerr << "bench_evaluate: " << why << '\n';
  std::exit(1);
}

Workload read(const std::string& data, const std::string& contexts) {
  std::ifstream file(data, std::ios::binary);
  auto evaluator = Evaluator::compile(std::string((std::istreambuf_iterator<char>(file)), {}));
  if (!evaluator) stop(evaluator.error().what);
  for (const std::string& problem : (*evaluator)->problems()) stop(problem);
  Workload made{.evaluator = *std::move(evaluator), .texts = {}, .contexts = {}};
  std::ifstream lines(contexts, std::ios::binary);
  for (std::string line; std::getline(lines, line);) made.texts.push_back(line);
  for (const std::string& text : made.texts) {
    auto context = Context::parse(text);
    if (!context) stop(context.error().what);
    made.contexts.push_back(*std::move(context));
  }
  if (made.contexts.empty() || made.evaluator->flags().empty()) stop("no contexts, or no flags");
  return made;
}

double thread_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void evaluate_all(const Evaluator& evaluator, const Context& context, Work& work) {
  for (const Flag& flag : evaluator.flags()) {
    const Evaluation answer = evaluator.evaluate(flag, context);
    work.sum += answer.variation.value_or(7) + static_cast<std::size_t>(answer.reason.kind);
  }
  work.evaluations += evaluator.flags().size();
}

void evaluate_until(const Workload& workload, bool reads_json, Clock::time_point end, Work& work) {
  constexpr std::size_t kEvaluationsAtOnce = 4096;  // between two looks at the clock
  const double began = thread_cpu_seconds();
  std::size_t next = 0;
  do {
    const std::size_t enough = work.evaluations + kEvaluationsAtOnce;
    while (work.evaluations < enough) {
      if (reads_json) {
        evaluate_all(*workload.evaluator, *Context::parse(workload.texts[next]), work);
      } else {
        evaluate_all(*workload.evaluator, workload.contexts[next], work);
      }
      next = next + 1 == workload.contexts.size() ? 0 : next + 1;
    }
  } while (Clock::now() < end);
  work.cpu_seconds = thread_cpu_seconds() - began;
}

std::string timed(const Workload& workload, bool reads_json, double seconds, std::size_t threads) {
  struct alignas(128) Shard {
    Work work;
  };
  std::vector<Shard> shards(threads);
  std::vector<std::thread> running;
  running.reserve(threads);
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(seconds));
  std::atomic<std::size_t> bytes = 0;
  for (std::size_t i = 1; i < threads; ++i) {
    running.emplace_back([&, i] { evaluate_until(workload, reads_json, end, shards[i].work); });
  }
  const std::size_t bytes_before = allocated_bytes;
  evaluate_until(workload, reads_json, end, shards[0].work);
  for (std::thread& thread : running) thread.join();
  bytes = allocated_bytes - bytes_before;
  Work all;
  for (const Shard& shard : shards) {
    all.evaluations += shard.work.evaluations;
    all.cpu_seconds += shard.work.cpu_seconds;
    all.sum += shard.work.sum;
  }
  return fmt::format(R"({{"evaluations":{},"cpu_seconds":{},"allocated_bytes":{},"sum":{}}})",
                     all.evaluations, all.cpu_seconds, bytes.load(), all.sum);
}

std::string latency(const Workload& workload) {
  constexpr std::size_t kSamples = 1'000'000;
  std::vector<std::uint32_t> samples;
  samples.reserve(kSamples);
  const auto& flags = workload.evaluator->flags();
  std::size_t sum = 0;
  for (std::size_t n = 0; samples.size() < kSamples; ++n) {
    const Flag& flag = flags[n % flags.size()];
    const Context& context = workload.contexts[n / flags.size() % workload.contexts.size()];
    const auto began = Clock::now();
    sum += workload.evaluator->evaluate(flag, context).variation.value_or(7);
    const auto took = Clock::now() - began;
    samples.push_back(static_cast<std::uint32_t>(std::chrono::nanoseconds(took).count()));
  }
  std::ranges::sort(samples);
  return fmt::format(R"({{"p50_ns":{},"p99_ns":{},"sum":{}}})", samples[kSamples / 2],
                     samples[kSamples / 100 * 99], sum);
}

std::string check(const Workload& workload) {
  std::map<std::string, std::size_t> counts;
  for (const Context& context : workload.contexts) {
    for (const Flag& flag : workload.evaluator->flags()) {
      const auto variation = workload.evaluator->evaluate(flag, context).variation;
      ++counts[fmt::format("{} {}", flag.key, variation ? static_cast<int>(*variation) : -1)];
    }
  }
  std::string out = "{";
  for (const auto& [name, count] : counts)
    out += fmt::format(R"({}"{}":{})", out.size() > 1 ? "," : "", name, count);
  return out + "}";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) stop("usage: bench_evaluate DATA CONTEXTS");
  const Workload workload = read(argv[1], argv[2]);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string what;
    double seconds = 0;
    std::size_t threads = 1;
    words >> what >> seconds >> threads;
    if (what == "each" || what == "json") {
      std::cout << timed(workload, what == "json", seconds, threads) << std::endl;
    } else if (what == "latency") {
      std::cout << latency(workload) << std::endl;
    } else if (what == "check") {
      std::cout << check(workload) << std::endl;
    } else {
      stop("each, json, latency or check, not " + what);
    }
  }
}
