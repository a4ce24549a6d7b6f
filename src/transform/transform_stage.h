// The stage from `payloads` to `events` and `rejects.transform`: drops repeats of a payload,
// decodes the others, and says of each payload what became of it.
//
// Per payload, in this order: its events by index and part, then one record of kind PAYLOAD with
// the outcome and the counts; its rejects, by index, to rejects.transform.  Ticks are passed on
// with their time.
//
// Payloads without summaries become what other SDKs send (decode_unsummarized.h): every evaluation
// counts, and a context gets an index event once in five minutes of each partition.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "events/event.pb.h"
#include "pipeline/stage.h"
#include "telemetry/metrics.h"
#include "transform/flag_rules.h"

namespace flagstream::transform {

struct TransformSettings {
  // Off only to see tests fail: every copy of a payload counts.
  bool dedupe = true;
  // Appends the inflated form of `gzip` to `out`, as the gateway did when it accepted the body.
  std::function<Result<void>(std::string_view gzip, std::string& out)> inflate;
  // What events of schema 1 and 2 do not say.  Null: it stays unsaid.
  FindRules find_rules = nullptr;
};

// Every payload ends in exactly one of the three outcomes.
struct Probe {
  explicit Probe(telemetry::Registry& registry);

  telemetry::Counter accepted;
  telemetry::Counter duplicates;
  telemetry::Counter rejected;
  telemetry::Counter events;           // of SDKs, accepted
  telemetry::Counter events_rejected;  // of SDKs, in accepted payloads
  telemetry::Counter unknown_records;  // of kinds that this release does not know
  telemetry::Counter rules_found;      // flags that were asked for what an event does not say
  telemetry::Counter rules_missing;
  telemetry::Counter contexts_unseen;  // got an index event again, for too many were seen already

  // Of an accepted payload.
  telemetry::Counter& payloads_of(const flagstream::events::proto::PayloadHeader& header);
  // Records written to `events`.
  void add_records(flagstream::events::proto::EventKind kind, std::uint64_t count);

 private:
  std::array<telemetry::Counter, 6> by_schema_;
  std::array<telemetry::Counter, 12> by_kind_;  // from INDEX on
};

class TransformStage final : public pipeline::Stage {
 public:
  // `registry` must outlive it.
  TransformStage(TransformSettings settings, telemetry::Registry& registry);

  std::string name() const override { return "transform"; }
  std::uint32_t format_version() const override { return 1; }
  std::string input() const override { return "payloads"; }
  std::vector<std::string> outputs() const override { return {"events", "rejects.transform"}; }
  // The folds must not outlive the stage.
  Result<std::unique_ptr<pipeline::Fold>> open_fold(const pipeline::FoldPlace& place) override;

 private:
  const TransformSettings settings_;
  Probe probe_;
};

}  // namespace flagstream::transform
