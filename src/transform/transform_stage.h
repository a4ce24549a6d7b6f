// The stage from `payloads` to `events` and `rejects.transform`: drops repeats of a payload,
// decodes the others, and says of each payload what became of it.
//
// Per payload, in this order: its events by index and part, then one record of kind PAYLOAD with
// the outcome and the counts; its rejects, by index, to rejects.transform.  Ticks are passed on
// with their time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "pipeline/stage.h"
#include "telemetry/metrics.h"

namespace flagstream::transform {

struct TransformSettings {
  // Off only to see tests fail: every copy of a payload counts.
  bool dedupe = true;
  // Appends the inflated form of `gzip` to `out`, as the gateway did when it accepted the body.
  std::function<Result<void>(std::string_view gzip, std::string& out)> inflate;
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
