// What it measures: the answer to one request of a client-side SDK, on one core: context from its
// path segment, all flags evaluated, body and entity tag.  1,000 contexts in turn; every flag has a
// rule that 30 % of them match, else a rollout of two halves.  And the same for a stream after a
// change that changes nothing for it.
// What it does not: HTTP, sockets, and looking up who asks.
#include "delivery/client_flags.h"

#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/hash.h"
#include "delivery/client_context.h"

namespace {

using namespace flagstream;
using environment::CredentialKind;

std::string flag_text(int number) {
  const std::string n = std::to_string(number);
  return R"({"key":"flag-number-)" + n + R"(","version":3,"on":true,"salt":"salt)" + n +
         R"(","variations":[true,false],"offVariation":1,
    "rules":[{"id":"r","clauses":[{"contextKind":"user","attribute":"country","op":"in",
                                  "values":["de","fr","us"],"negate":false}],"variation":0}],
    "fallthrough":{"rollout":{"contextKind":"user","variations":[{"variation":0,"weight":50000},
                                                                {"variation":1,"weight":50000}]}},
    "clientSideAvailability":{"usingMobileKey":true,"usingEnvironmentId":true}})";
}

std::shared_ptr<const environment::FlagSet> flag_set(std::int64_t flags, std::uint64_t revision) {
  auto set = std::make_shared<environment::FlagSet>();
  set->revision = revision;
  std::string all;
  for (int i = 0; i < flags; ++i) {
    auto text = std::make_shared<const std::string>(flag_text(i));
    const std::string key = "flag-number-" + std::to_string(i);
    all += (i == 0 ? "\"" : ",\"") + key + "\":" + *text;
    set->flags[key] = {.version = 3, .json = std::move(text)};
  }
  set->all_json =
      std::make_shared<const std::string>(R"({"flags":{)" + all + R"(},"segments":{}})");
  return set;
}

std::vector<std::string> context_texts() {
  std::vector<std::string> made;
  for (int i = 0; i < 1000; ++i) {
    made.push_back(R"({"kind":"user","key":"user-)" + std::to_string(100'000 + i * 37) +
                   R"(","name":"N","email":"n@example.com","plan":"pro","country":")" +
                   (i * 7 % 1000 < 300 ? "fr" : "pl") + R"("})");
  }
  return made;
}

std::string segment_of(const std::string& json) {
  std::string segment = base64_encode(json);
  for (char& c : segment) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return segment.substr(0, segment.find('='));
}

void BM_Answer(benchmark::State& state) {
  delivery::Evaluators evaluators;
  delivery::ClientFlagsCache cache(evaluators);
  const auto set = flag_set(state.range(0), 812);
  std::vector<std::string> segments;
  for (const std::string& json : context_texts()) segments.push_back(segment_of(json));
  std::size_t next = 0;
  std::int64_t bytes = 0;
  for (auto _ : state) {
    const auto json = delivery::decode_context_segment(segments[next]);
    const auto context = delivery::parse_context(*json);
    std::string body;
    cache.get(set, CredentialKind::ClientSideId)
        ->append_all(body, *context, delivery::Reasons::WhereTracked);
    const std::string etag = "\"" + xxh3_128(body).to_hex() + "\"";
    benchmark::DoNotOptimize(etag.data());
    bytes += static_cast<std::int64_t>(body.size());
    if (!body.starts_with(R"({"flag-number-0":{"version":812,"flagVersion":3,"value":)"))
      state.SkipWithError("wrong answer");
    next = next + 1 == segments.size() ? 0 : next + 1;
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(bytes);
}
BENCHMARK(BM_Answer)->Arg(20)->Arg(350)->ArgName("flags");

void BM_StreamAfterAChange(benchmark::State& state) {
  delivery::Evaluators evaluators;
  delivery::ClientFlagsCache cache(evaluators);
  const auto before = flag_set(state.range(0), 812);
  const auto after = flag_set(state.range(0), 813);
  const std::vector<std::string> texts = context_texts();
  delivery::ClientFlags::Sent sent;
  cache.get(before, CredentialKind::ClientSideId)
      ->put_message(*delivery::parse_context(texts[0]), delivery::Reasons::WhereTracked, sent);
  for (auto _ : state) {
    const auto context = delivery::parse_context(texts[0]);
    const auto changes = cache.get(after, CredentialKind::ClientSideId)
                             ->changes_since(sent, *context, delivery::Reasons::WhereTracked);
    if (!changes.messages.empty()) state.SkipWithError("nothing has changed for it");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_StreamAfterAChange)->Arg(20)->Arg(350)->ArgName("flags");

}  // namespace

BENCHMARK_MAIN();
